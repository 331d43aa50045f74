"""Listeners and jobs raise whatever they like: the others are called, and later runs happen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from loop_kit import (
    ERRORS,
    FaultyTrigger,
    HandScheduler,
    Heard,
    HeldExecutor,
    assert_at_rest,
    assert_every_slot_ran_once,
    at,
    ran,
    slots_of,
)

from apscheduler import events
from apscheduler.executors.pool import ThreadPoolExecutor

Make = Callable[..., HandScheduler]
PATIENCE = 20

CODES = {name: getattr(events, name) for name in events.__all__ if name.startswith("EVENT_")}
CODES.pop("EVENT_ALL")
# Of a job store that is not shared nothing is lost while the scheduler lives.
CODES.pop("EVENT_JOB_LOST")
#: What a listener may raise: it is only ever told.
ANYTHING = [*ERRORS, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]


def everything_happens(scheduler: HandScheduler) -> None:
    """Let a scheduler of which nothing has happened yet send every event there is."""
    scheduler.add_executor(HeldExecutor(), "held")
    scheduler.add_executor(HeldExecutor(), "other")
    scheduler.remove_executor("other")
    scheduler.add_jobstore("memory", "more")
    scheduler.start()
    scheduler.add_job(ran, "interval", seconds=10, id="every")
    scheduler.add_job(ran, "date", run_date=at(10), id="once")
    scheduler.add_job(ran, "interval", seconds=10, id="crowded", executor="held")
    scheduler.add_job(fails, "interval", seconds=10, id="fails")
    scheduler.add_job(ran, "interval", seconds=11, id="missed")
    scheduler.add_job(ran, "date", run_date=at(1000), id="removed", jobstore="more")
    scheduler.modify_job("removed", name="renamed")
    scheduler.remove_job("removed")
    scheduler.run_until(20)
    scheduler.pause()
    scheduler.run_until(25)
    scheduler.resume()
    scheduler.rest()
    scheduler.remove_all_jobs("more")
    scheduler.remove_jobstore("more")
    scheduler.run_until(40)


def fails() -> None:
    raise ValueError("as ever")


@pytest.fixture
def fresh() -> Iterator[HandScheduler]:
    scheduler = HandScheduler()
    yield scheduler
    if scheduler.running:
        scheduler.shutdown(wait=False)


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_a_listener_that_raises_at_an_event_keeps_it_from_nobody_else(
    fresh: HandScheduler, code: int
) -> None:
    raised = []

    def raiser(event: Any) -> None:
        raised.append(event)
        raise ANYTHING[len(raised) % len(ANYTHING)]("out of order")

    fresh.add_listener(raiser, code)
    heard = Heard(fresh, code)
    everything_happens(fresh)
    assert slots_of("every") == [10, 20, 30, 40]
    assert slots_of("once") == [10]
    assert fresh.health().running
    fresh.shutdown(wait=False)
    assert raised == heard.events
    assert raised


@pytest.mark.parametrize("error", ANYTHING)
def test_a_listener_that_always_raises_harms_nothing(
    fresh: HandScheduler, error: type[BaseException]
) -> None:
    def raiser(event: Any) -> None:
        raise error("out of order")

    fresh.add_listener(raiser)
    heard = Heard(fresh)
    everything_happens(fresh)
    fresh.shutdown(wait=False)
    assert slots_of("every") == [10, 20, 30, 40]
    assert {code for code in CODES.values() if not heard.of(code)} == set()


def test_a_listener_that_holds_others_up_is_named(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spent = 0.0

    def slow(event: Any) -> None:
        nonlocal spent
        spent += 1.1

    def quick(event: Any) -> None:
        nonlocal spent
        spent += 0.9

    monkeypatch.setattr("apscheduler.schedulers._core.perf_counter", lambda: spent)
    scheduler = make()
    scheduler.add_listener(quick, events.EVENT_JOB_EXECUTED)
    scheduler.add_listener(slow, events.EVENT_JOB_EXECUTED)
    scheduler.add_job(ran, "date", run_date=at(0), id="once")
    scheduler.rest()
    (told,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert told.getMessage().startswith(f"Listener {slow!r} took 1.1 s for <JobExecutionEvent")
    assert "let it hand long work to a thread or a job" in told.getMessage()


@pytest.mark.parametrize("error", ERRORS)
def test_a_job_that_fails_runs_again_at_its_next_time(make: Make, error: type[Exception]) -> None:
    failure = error("no luck")

    def job() -> None:
        raise failure

    scheduler = make()
    heard = Heard(scheduler, events.EVENT_JOB_ERROR)
    scheduler.add_job(job, "interval", seconds=10, id="bad")
    scheduler.add_job(ran, "interval", seconds=10, id="good")
    scheduler.run_until(35)
    assert slots_of("good") == [10, 20, 30]
    assert [event.scheduled_run_time for event in heard.events] == [at(10), at(20), at(30)]
    assert {event.exception for event in heard.events} == {failure}
    runs = scheduler.get_runs("bad")
    assert [run.state for run in runs] == ["failed"] * 3
    assert all(run.error.endswith(f"{error.__name__}: no luck") for run in runs if run.error)
    assert_at_rest(scheduler)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RecursionError("a text of a text of a text")

    __repr__ = __str__


def test_a_job_that_fails_with_what_cannot_be_printed_is_on_record_all_the_same(
    make: Make,
) -> None:
    def job() -> None:
        raise Unspeakable

    scheduler = make()
    scheduler.add_job(job, "interval", seconds=10, id="bad")
    scheduler.add_job(ran, "interval", seconds=10, id="good")
    scheduler.run_until(25)
    assert [run.state for run in scheduler.get_runs("bad")] == ["failed"] * 2
    assert all(str(run.error).endswith("Unspeakable") for run in scheduler.get_runs("bad"))
    assert slots_of("good") == [10, 20]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_hosts_own_main_thread_passes_through_and_loses_no_run(
    make: Make, interrupt: type[BaseException]
) -> None:
    def job() -> None:
        raise interrupt

    scheduler = make(job_defaults={"misfire_grace_time": None})
    heard = Heard(scheduler, events.EVENT_JOB_ERROR)
    scheduler.add_job(ran, "interval", seconds=10, id="a")
    scheduler.add_job(job, "date", run_date=at(10), id="b")
    scheduler.add_job(ran, "interval", seconds=10, id="c")
    scheduler.add_job(ran, "date", run_date=at(10), id="d")
    with pytest.raises(interrupt):
        scheduler.run_until(15)
    assert scheduler.running
    assert [event.job_id for event in heard.events] == ["b"]

    scheduler.run_until(35)
    assert_every_slot_ran_once(scheduler, "a", [10, 20, 30], most_late=0)
    assert_every_slot_ran_once(scheduler, "c", [10, 20, 30], most_late=5)
    assert_every_slot_ran_once(scheduler, "d", [10], most_late=5)
    assert_at_rest(scheduler)


@pytest.mark.parametrize(
    "error",
    [*ERRORS, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError],
)
def test_whatever_a_job_raises_in_a_worker_thread_the_worker_takes_the_next_one(
    make: Make, error: type[BaseException]
) -> None:
    def job() -> None:
        raise error("no luck")

    scheduler = make(executors={"default": ThreadPoolExecutor(1)})
    told: SimpleQueue[Any] = SimpleQueue()
    scheduler.add_listener(told.put, events.EVENT_JOB_ERROR | events.EVENT_JOB_EXECUTED)
    scheduler.add_job(job, FaultyTrigger(10), id="bad")
    for seconds in (10, 20):
        scheduler.run_until(seconds)
        event = told.get(timeout=PATIENCE)
        assert (event.code, type(event.exception)) == (events.EVENT_JOB_ERROR, error)
    scheduler.add_job(ran, id="good")
    scheduler.rest()
    assert told.get(timeout=PATIENCE).code == events.EVENT_JOB_EXECUTED
    scheduler.shutdown()
    load = scheduler.health().executors["default"]
    assert (load.workers, load.queued) == (1, 0)


def test_a_job_that_returns_an_awaitable_that_fails_has_failed(make: Make) -> None:
    async def job() -> None:
        raise MemoryError("no luck")

    scheduler = make()
    scheduler.add_job(job, "interval", seconds=10, id="bad")
    scheduler.run_until(25)
    assert [run.state for run in scheduler.get_runs("bad")] == ["failed"] * 2
    assert_at_rest(scheduler)
