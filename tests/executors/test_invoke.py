"""One call of a user's function: what becomes of it, and what it can learn of its Run."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from executor_kit import DUE, Records, make_job, make_run

from apscheduler import current_run
from apscheduler.executors._coroutines import CoroutineThread
from apscheduler.executors._invoke import ainvoke, current_run_id, invoke
from apscheduler.runs import Outcome, Run, RunState, started

NOW = DUE + timedelta(seconds=3)
RUN = started(make_run(), DUE + timedelta(seconds=2))


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("tests.invoke")
    yield logger
    logger.setLevel(logging.NOTSET)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    for log_filter in list(logger.filters):
        logger.removeFilter(log_filter)


@pytest.fixture
def records(logger: logging.Logger) -> list[logging.LogRecord]:
    handler = Records()
    logger.addHandler(handler)
    return handler.records


@pytest.fixture(params=["plain", "coroutine"])
def call(request: pytest.FixtureRequest, logger: logging.Logger) -> Any:
    """Call a function, plainly or on a loop, and return the Outcome."""

    def call_plain(func: Any, *args: Any, run: Run = RUN) -> Outcome:
        awaiting = CoroutineThread()
        try:
            return invoke(make_job(func, *args), run, lambda: NOW, logger, awaiting.run)
        finally:
            awaiting.close()

    def call_on_loop(func: Any, *args: Any, run: Run = RUN) -> Outcome:
        return asyncio.run(ainvoke(make_job(func, *args), run, lambda: NOW, logger))

    return call_plain if request.param == "plain" else call_on_loop


class Gate:
    """Something that can be awaited, and is no coroutine."""

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return "through"


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def test_a_value_is_a_success_with_both_times(call: Any) -> None:
    assert call(divmod, 7, 2) == Outcome(
        RunState.SUCCEEDED, started_at=RUN.started_at, ended_at=NOW, value=(3, 1)
    )


@pytest.mark.parametrize("func", [double, lambda number: double(number)])
def test_a_coroutine_is_awaited_whatever_has_returned_it(call: Any, func: Any) -> None:
    assert call(func, 4).value == 8


def test_any_awaitable_is_awaited(call: Any) -> None:
    assert call(Gate).value == "through"


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_every_exception_is_an_outcome(call: Any, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error("no")

    outcome = call(fail)
    assert outcome.state is RunState.FAILED
    assert type(outcome.exception) is error
    assert (outcome.started_at, outcome.ended_at) == (RUN.started_at, NOW)
    assert "in fail" in outcome.traceback
    assert outcome.traceback.startswith("  File ")
    assert error.__name__ not in outcome.traceback.splitlines()[-1]


def test_an_exception_of_a_coroutine_is_an_outcome(call: Any) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise SystemExit(3)

    outcome = call(fail)
    assert outcome.state is RunState.FAILED
    assert isinstance(outcome.exception, SystemExit)
    assert "in fail" in outcome.traceback


def test_arguments_that_do_not_suit_are_an_outcome(call: Any) -> None:
    assert isinstance(call(double).exception, TypeError)


def test_a_cancelled_task_is_a_cancelled_run(logger: logging.Logger) -> None:
    async def main() -> Outcome:
        begun = asyncio.Event()

        async def wait() -> None:
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(ainvoke(make_job(wait), RUN, lambda: NOW, logger))
        await begun.wait()
        task.cancel()
        return await task

    outcome = asyncio.run(main())
    assert outcome.state is RunState.CANCELLED
    assert isinstance(outcome.exception, asyncio.CancelledError)


def test_a_function_that_raises_the_cancellation_itself_has_failed(call: Any) -> None:
    def cancel() -> None:
        raise asyncio.CancelledError

    outcome = call(cancel)
    assert outcome.state is RunState.FAILED
    assert isinstance(outcome.exception, asyncio.CancelledError)


def test_begin_and_success_are_logged_as_in_3x(
    call: Any, logger: logging.Logger, records: list[logging.LogRecord]
) -> None:
    logger.setLevel(logging.INFO)
    call(divmod, 7, 2)
    assert [(record.levelno, record.getMessage()) for record in records] == [
        (
            logging.INFO,
            'Running job "job a (trigger: None, paused)" (scheduled at 2026-03-01 12:00:00+00:00)',
        ),
        (logging.INFO, 'Job "job a (trigger: None, paused)" executed successfully'),
    ]


def test_an_exception_is_logged_with_its_traceback(
    call: Any, records: list[logging.LogRecord]
) -> None:
    call(divmod, 7, 0)
    (record,) = records
    assert record.getMessage() == 'Job "job a (trigger: None, paused)" raised an exception'
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize(("func", "state"), [(str, "succeeded"), (double, "failed")])
def test_a_log_that_fails_does_not_change_the_outcome(
    call: Any,
    logger: logging.Logger,
    capsys: pytest.CaptureFixture[str],
    func: Any,
    state: str,
) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise OSError("the log is full")

    logger.setLevel(logging.INFO)
    logger.addFilter(refuse)
    assert call(func).state == state
    assert "the log is full" in capsys.readouterr().err


def test_no_text_of_a_job_is_made_for_a_log_that_nobody_keeps(call: Any) -> None:
    class Name(str):
        __slots__ = ()

        def __format__(self, spec: str) -> str:
            raise AssertionError("the name was looked at")

    job = make_job(str, name=Name("x"))
    with pytest.raises(AssertionError):
        str(job)
    assert invoke(job, RUN, lambda: NOW, logging.getLogger("tests.quiet"), str).value == ""


class Heavy:
    """Something of which one wants to know when it is gone."""


def test_an_exception_keeps_no_locals_alive(call: Any) -> None:
    seen: list[weakref.ref[Heavy]] = []

    def inner() -> None:
        heavy = Heavy()
        seen.append(weakref.ref(heavy))
        raise KeyError("inner")

    def outer() -> None:
        heavy = Heavy()
        seen.append(weakref.ref(heavy))
        try:
            inner()
        except KeyError as exc:
            raise ValueError("outer") from exc

    outcome = call(outer)
    gc.collect()
    assert [ref() for ref in seen] == [None, None]
    assert isinstance(outcome.exception.__cause__, KeyError)
    assert "in outer" in outcome.traceback


def test_an_outcome_keeps_no_arguments_alive(call: Any) -> None:
    heavy = Heavy()
    gone = weakref.ref(heavy)
    outcome = call(lambda given: None, heavy)
    del heavy
    gc.collect()
    assert outcome.state is RunState.SUCCEEDED
    assert gone() is None


def test_a_function_can_learn_what_run_it_is_in(call: Any) -> None:
    current = call(current_run).value
    assert (current.job_id, current.run_id, current.attempt) == ("a", "run-0", 1)
    assert (current.scheduled_at, current.started_at) == (DUE, RUN.started_at)
    assert current.lateness == timedelta(seconds=2)
    assert call(current_run_id).value == "run-0"


def test_a_coroutine_and_what_it_awaits_can_too(call: Any) -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return current_run().run_id

    async def outer() -> str:
        return await asyncio.create_task(inner())

    assert call(outer).value == "run-0"


def test_after_the_call_there_is_no_current_run(call: Any) -> None:
    call(str)
    call(double)
    with pytest.raises(RuntimeError, match=r"outside a run.*copy_context"):
        current_run()
    assert current_run_id() is None


def test_a_call_within_a_call_has_its_own_run(logger: logging.Logger) -> None:
    other = started(make_run(1), DUE)

    def outer() -> list[str | None]:
        inner = invoke(make_job(current_run_id), other, lambda: NOW, logger, str)
        return [inner.value, current_run_id()]

    assert invoke(make_job(outer), RUN, lambda: NOW, logger, str).value == ["run-1", "run-0"]


def test_a_thread_has_the_run_if_it_gets_the_context(call: Any) -> None:
    def func() -> list[str | None]:
        seen: list[str | None] = []

        def look() -> None:
            seen.append(current_run_id())

        context = contextvars.copy_context()
        for target, args in ((look, ()), (context.run, (look,))):
            thread = threading.Thread(target=target, args=args)
            thread.start()
            thread.join()
        return seen

    assert call(func).value == [None, "run-0"]


def test_lateness_counts_elapsed_time_over_a_change_of_the_clocks(call: Any) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    before = datetime(2026, 10, 25, 2, 59, 59, tzinfo=berlin)
    after = datetime(2026, 10, 25, 2, 0, 1, fold=1, tzinfo=berlin)
    run = started(make_run(scheduled_at=before), after)
    assert call(current_run, run=run).value.lateness == timedelta(seconds=2)


def test_the_logger_of_a_run_names_it(call: Any) -> None:
    handler = Records()
    handler.setLevel(logging.WARNING)
    logging.getLogger("apscheduler.runs").addHandler(handler)
    try:
        run = started(make_run(id="100%s"), DUE)
        call(lambda: current_run().logger.warning("%d left", 3, extra={"own": 1}), run=run)
    finally:
        logging.getLogger("apscheduler.runs").removeHandler(handler)

    (record,) = handler.records
    assert record.getMessage() == "run 100%s of job a: 3 left"
    fields = vars(record)
    assert (fields["job_id"], fields["run_id"], fields["attempt"]) == ("a", "100%s", 1)
    assert fields["own"] == 1


def test_times_are_those_of_the_clock_that_was_given(logger: logging.Logger) -> None:
    moments = iter([datetime(2001, 1, 1, tzinfo=UTC)])
    outcome = invoke(make_job(str), RUN, lambda: next(moments), logger, str)
    assert outcome.ended_at == datetime(2001, 1, 1, tzinfo=UTC)
