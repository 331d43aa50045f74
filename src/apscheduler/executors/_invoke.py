"""One call of a user's function, from a Run to its Outcome."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from types import FrameType, TracebackType
from typing import Any, Final

from apscheduler._log import say
from apscheduler.clock import UTC
from apscheduler.job import Job
from apscheduler.runs import SUCCEEDED, Outcome, Run, RunState, value

Await = Callable[[Awaitable[Any]], Any]
Now = Callable[[], datetime]

#: The flags of code that is suspended, and goes on: generators, coroutines, and both in one. They
#: are those of `inspect`, which takes too long to be imported for three numbers.
_RESUMABLE: Final = 0x20 | 0x80 | 0x200

_current: ContextVar[Run] = ContextVar("apscheduler_run")
_runs_logger = logging.getLogger("apscheduler.runs")


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that says of each message which Run it is about."""

    def __init__(self, run: Run) -> None:
        super().__init__(
            _runs_logger,
            {"job_id": run.job_id, "run_id": run.id, "attempt": run.attempt},
        )
        # Per cent signs of an id must not be taken for places of arguments.
        self._prefix = f"run {run.id} of job {run.job_id}: ".replace("%", "%%")

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        own = self.extra or {}
        kwargs["extra"] = {**own, **(kwargs.get("extra") or {})}
        return f"{self._prefix}{msg}", kwargs


@value
class CurrentRun:
    """What a running function can learn about its own Run.

    :ivar job_id: id of the job
    :ivar run_id: id of this Run; empty where a third party's executor runs the job
    :ivar scheduled_at: aware datetime for which the Run was scheduled, in the trigger's time zone
    :ivar started_at: aware datetime at which it was started, in UTC
    :ivar attempt: 1 for the first attempt, one more for each retry or recovery
    :ivar logger: logs to ``apscheduler.runs``, naming this Run in each message and in the fields
        ``job_id``, ``run_id`` and ``attempt`` of each record
    """

    job_id: str
    run_id: str
    scheduled_at: datetime
    started_at: datetime
    attempt: int
    logger: RunLogger

    @property
    def lateness(self) -> timedelta:
        """How long after its scheduled time the Run was started."""
        # In UTC: subtracting two times of one zone would ignore a DST change between them.
        return self.started_at.astimezone(UTC) - self.scheduled_at.astimezone(UTC)


def current_run() -> CurrentRun:
    """Return the Run in which the caller is running.

    Works in the function of a job and in whatever it calls or awaits, under every executor, also
    in a worker process. A thread that the function starts itself does not know of the Run unless
    it is started with the function's context (``contextvars.copy_context().run``).

    :raises RuntimeError: if the caller is not part of a Run
    """
    run = _current.get(None)
    if run is None:
        raise RuntimeError(
            "current_run() was called outside a run: only a function that a scheduler is running, "
            "and what it calls, has one. If such a function has started this thread, start the "
            "thread with contextvars.copy_context().run as its target"
        )
    started_at = run.started_at or run.opened_at
    return CurrentRun(
        run.job_id, run.id, run.scheduled_at, started_at, run.attempt, RunLogger(run)
    )


def current_run_id() -> str | None:
    """Return the id of the Run in which the caller is running, None outside a Run."""
    run = _current.get(None)
    return None if run is None else run.id


def await_alone(awaitable: Awaitable[Any]) -> Any:
    """Await on an event loop that belongs to this process, where no scheduler provides one."""
    # asyncio is not imported before something is to be awaited.
    from apscheduler.executors._coroutines import PROCESS_COROUTINES

    return PROCESS_COROUTINES.run(awaitable)


def invoke(job: Job, run: Run, now: Now, logger: logging.Logger, await_: Await) -> Outcome:
    """Call the function of a job, and return what became of it, whatever that is.

    :param run: the Run as started; it is `current_run` for the function
    :param now: reads the clock, for the end of the Run
    :param logger: logger of the executor
    :param await_: waits for an awaitable that the function has returned
    """
    verbose = logger.isEnabledFor(logging.INFO)
    if verbose:
        _log_start(logger, job, run)
    token = _current.set(run)
    try:
        kwargs = job._kwargs if type(job) is Job else job.kwargs
        result = job.func(*job.args, **kwargs) if kwargs else job.func(*job.args)
        if result is not None and hasattr(type(result), "__await__"):
            result = await_(result)
        ended_at = now()
    except BaseException as exc:
        return _failure(job, run, exc, now, logger, RunState.FAILED)
    finally:
        _current.reset(token)
    if verbose:
        say(logger, logging.INFO, 'Job "%s" executed successfully', job)
    return Outcome(SUCCEEDED, run.started_at, ended_at, result)


async def ainvoke(
    job: Job,
    run: Run,
    now: Now,
    logger: logging.Logger,
    await_: Callable[[Awaitable[Any]], Awaitable[Any]] | None = None,
) -> Outcome:
    """Do the same as `invoke` on the running event loop.

    If the surrounding task is cancelled, the Run ends cancelled and the task goes on.

    :param await_: wraps an awaitable that the function has returned
    """
    verbose = logger.isEnabledFor(logging.INFO)
    if verbose:
        _log_start(logger, job, run)
    token = _current.set(run)
    try:
        kwargs = job._kwargs if type(job) is Job else job.kwargs
        result = job.func(*job.args, **kwargs) if kwargs else job.func(*job.args)
        if result is not None and hasattr(type(result), "__await__"):
            result = await (result if await_ is None else await_(result))
        ended_at = now()
    except BaseException as exc:
        return _failure(job, run, exc, now, logger, _end_of_task(exc))
    finally:
        try:
            _current.reset(token)
        except ValueError:
            pass  # the loop was closed, and the task thrown away from outside its context
    if verbose:
        say(logger, logging.INFO, 'Job "%s" executed successfully', job)
    return Outcome(SUCCEEDED, run.started_at, ended_at, result)


def _end_of_task(exc: BaseException) -> RunState:
    from asyncio import CancelledError, _get_running_loop, current_task

    # Without a loop, it is another framework that runs the coroutine.
    if isinstance(exc, CancelledError) and _get_running_loop() is not None:
        task = current_task()
        # A function may also raise it by itself; that is an error like any other.
        if task is not None and task.cancelling():
            return RunState.CANCELLED
    return RunState.FAILED


def _failure(
    job: Job, run: Run, exc: BaseException, now: Now, logger: logging.Logger, state: RunState
) -> Outcome:
    ended_at = now()
    text = "".join(traceback.format_tb(exc.__traceback__))
    say(logger, logging.ERROR, 'Job "%s" raised an exception', job, exc_info=exc)
    _let_go_of_locals(exc)
    return Outcome(state, run.started_at, ended_at, exception=exc, traceback=text)


def _let_go_of_locals(exc: BaseException) -> None:
    """Let the exception keep nothing alive that the function had in its hands."""
    pending: list[BaseException | None] = [exc]
    seen: set[int] = set()
    while pending:
        error = pending.pop()
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            _clear_frames(error.__traceback__)
            pending += (error.__cause__, error.__context__)


def _clear_frames(place: TracebackType | None) -> None:
    while place is not None:
        frame = place.tb_frame
        # Somebody else may have caught the exception before, handed it on, and still be at work:
        # to clear a generator that is suspended would end it.
        if not frame.f_code.co_flags & _RESUMABLE or _has_ended(frame):
            try:
                frame.clear()
            except RuntimeError:
                pass  # It is running.
        place = place.tb_next


def _has_ended(frame: FrameType) -> bool:
    import gc

    # Only what has ended belongs to its frame. What is suspended belongs to the generator.
    return any(thing is frame.f_code for thing in gc.get_referents(frame))


def _log_start(logger: logging.Logger, job: Job, run: Run) -> None:
    say(logger, logging.INFO, 'Running job "%s" (scheduled at %s)', job, run.scheduled_at)
