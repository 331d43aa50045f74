"""What all faces of a scheduler stand on: its registries, its listeners and its loop."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime, tzinfo
from time import perf_counter
from typing import TYPE_CHECKING, Any

from apscheduler import _fork
from apscheduler._log import say
from apscheduler._loop import Loop
from apscheduler.clock import Clock
from apscheduler.events import EVENT_ALL, SchedulerEvent
from apscheduler.jobstores.base import BaseJobStore, ClaimingJobStore, claims_for_itself

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apscheduler._house import Waiter
    from apscheduler.events import JobExecutionEvent
    from apscheduler.executors._coroutines import CoroutineThread
    from apscheduler.executors.base import BaseExecutor
    from apscheduler.job import Job

STATE_STOPPED = 0
STATE_RUNNING = 1
STATE_PAUSED = 2

#: The longest time in seconds that anything waits for: thirty years.
LONGEST = 1e9
#: Seconds after which a listener is called slow.
SLOW_LISTENER = 1.0

Listener = Callable[[Any], Any]


def seconds_given(name: str, given: Any, *, positive: bool = False) -> float:
    """Return a number of seconds, cut to what can be waited for.

    :raises TypeError: if it is not a number
    :raises ValueError: if it is negative, or not a number of its kind
    """
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, got {given!r}")
    if not (given > 0 or (given == 0 and not positive)):
        least = "greater than 0" if positive else "at least 0"
        raise ValueError(f"{name} must be {least} seconds, got {given!r}")
    return float(min(given, LONGEST))


def _is_awaitable(answer: object) -> bool:
    # Not imported before a listener answers at all: it brings a dozen modules with it.
    from inspect import isawaitable

    return isawaitable(answer)


class SchedulerCore:
    """Registries, listeners and loop of one scheduler."""

    state: int = STATE_STOPPED
    timezone: tzinfo
    _clock: Clock
    _logger: logging.Logger
    jobstore_retry_interval: float
    _max_sleep: float
    _job_defaults: dict[str, Any]

    def __init__(self) -> None:
        self._executors: dict[str, BaseExecutor] = {}
        self._jobstores: dict[str, BaseJobStore] = {}
        self._seams: dict[str, tuple[BaseJobStore, ClaimingJobStore]] = {}
        self._listeners: list[tuple[Listener, int]] = []
        self._pending_jobs: list[tuple[Job, str, bool]] = []
        self._coroutines: CoroutineThread | None = None
        # The process in which it was started; and that of which this one is a fork, if it was
        # running there, and what it had in memory there.
        self._started_in = 0
        self._forked_from: int | None = None
        self._fork_is_told = False
        self._carried_over: list[tuple[str, Iterable[Job]]] = []
        self._begin()
        _fork.watch(self)

    def _begin(self) -> None:
        self._executors_lock = self._create_lock()
        self._jobstores_lock = self._create_lock()
        self._listeners_lock = self._create_lock()
        self._loop = Loop(self)

    def wakeup(self) -> None:
        """Let the loop look for due jobs now."""
        raise NotImplementedError

    # -- what the loop asks of its host; see `apscheduler._house.House` -------------------------

    def _call_listeners(self, tell: Callable[[], None]) -> None:
        tell()

    def _waiter(self, alias: str) -> Waiter | None:
        return None

    def _come_again(self, seconds: float | None) -> None:
        self.wakeup()

    def _log(
        self, level: int, message: str, *args: Any, exc_info: BaseException | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            say(self._logger, level, message, *args, exc_info=exc_info, stacklevel=3)

    def _now(self) -> datetime:
        return self._clock.now().astimezone(self.timezone)

    def _create_lock(self) -> AbstractContextManager[Any]:
        """Return a new re-entrant lock of the kind that suits this scheduler."""
        return threading.RLock()

    # -- forks ----------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        """Be stopped, in a child process, and let go of what belongs to the parent.

        A subclass extends this by what it has itself. See `apscheduler._fork.Forked`.
        """
        if self.state != STATE_STOPPED:
            self.state = STATE_STOPPED
            self._forked_from = self._started_in
        self._fork_is_told = False
        shut_down = self._loop.stopping
        self._loop.abandon()
        self._begin()
        self._seams = {}
        for executor in list(self._executors.values()):
            executor.after_fork()
        for alias, store in list(self._jobstores.items()):
            jobs = store.after_fork()
            if not shut_down:
                self._carried_over.append((alias, jobs))

    def _carry_over(self) -> None:
        """Make the jobs that were in memory when this process was forked off pending here."""
        if self._carried_over:
            pending = {id(job) for job, _, _ in self._pending_jobs}
            for alias, jobs in self._carried_over:
                for job in jobs:
                    if id(job) not in pending:
                        job._jobstore_alias = None
                        self._pending_jobs.append((job, alias, False))
            self._carried_over.clear()

    def _is_stopped(self) -> bool:
        """Tell whether it is stopped; whoever need not know of a fork is told of it."""
        if self.state != STATE_STOPPED:
            return False
        self._carry_over()
        if self._forked_from is not None and not self._fork_is_told:
            self._fork_is_told = True
            self._log(
                logging.WARNING,
                "This scheduler was running in process %d when process %d was forked off from it, "
                "and does not run here: what is done with it here, nobody hears of there. To run "
                "it here too, call start() after the fork; to change the schedule there, ask that "
                "process",
                self._forked_from,
                os.getpid(),
            )
        return True

    # -- registries -----------------------------------------------------------------------------

    def _lookup_executor(self, alias: str) -> BaseExecutor:
        """Return an executor by its alias.

        :raises KeyError: if there is none
        """
        try:
            return self._executors[alias]
        except KeyError:
            raise KeyError(f"No such executor: {alias}") from None

    def _lookup_jobstore(self, alias: str) -> BaseJobStore:
        """Return a job store by its alias.

        :raises KeyError: if there is none
        """
        try:
            return self._jobstores[alias]
        except KeyError:
            raise KeyError(f"No such job store: {alias}") from None

    def _seam(self, alias: str) -> ClaimingJobStore:
        """Return what slots of a job store are claimed from: the store itself, or a wrapper.

        :raises KeyError: if there is no such job store
        """
        store = self._lookup_jobstore(alias)
        known = self._seams.get(alias)
        if known is None or known[0] is not store:
            known = self._seams[alias] = store, self._seam_of(store)
        return known[1]

    def _seam_of(self, store: BaseJobStore) -> ClaimingJobStore:
        if isinstance(store, ClaimingJobStore) and claims_for_itself(store):
            return store
        from apscheduler.jobstores._unshared import UnsharedJobStore

        return UnsharedJobStore(store, self._jobstores_lock)

    # -- listeners ------------------------------------------------------------------------------

    def add_listener(self, callback: Listener, mask: int = EVENT_ALL) -> None:
        """Let a callable hear of events.

        It is called in the thread that causes the event, with no lock held. What it raises is
        logged. A coroutine function is awaited, on the scheduler's event loop if it has one.

        :param callback: called with the event
        :param mask: the codes of the events to hear of, combined with ``|``; all by default
        :raises TypeError: if ``callback`` cannot be called, or ``mask`` is not a number
        """
        if not callable(callback):
            raise TypeError(f"callback must be callable, got {callback!r}; pass a function")
        if not isinstance(mask, int):
            raise TypeError(f"mask must be an int, got {mask!r}; combine EVENT_* constants with |")
        with self._listeners_lock:
            self._listeners.append((callback, mask))

    def remove_listener(self, callback: Listener) -> None:
        """Let a callable hear of no more events; nothing happens if it did not.

        :param callback: as it was added; all its registrations end
        """
        with self._listeners_lock:
            self._listeners[:] = [entry for entry in self._listeners if entry[0] != callback]

    def _hears(self, code: int) -> bool:
        """Tell whether anybody wants an event of this code, so that it is worth making."""
        for _, mask in self._listeners:
            if mask & code:
                return True
        # A subclass, or a test, may listen here. (To ask for the `__dict__` of the scheduler would
        # make CPython 3.11 look up all of its attributes more slowly from then on.)
        method: Any = self._dispatch_event
        try:
            return method.__func__ is not _DISPATCH or method.__self__ is not self
        except AttributeError:
            return True

    def _dispatch_event(self, event: SchedulerEvent) -> None:
        """Call every listener that wants ``event``, in the order they were added."""
        with self._listeners_lock:
            listeners = tuple(self._listeners)
        for callback, mask in listeners:
            if event.code & mask:
                began = perf_counter()
                try:
                    answer = callback(event)
                    if answer is not None and _is_awaitable(answer):
                        self._await_listener(answer)
                except BaseException as error:
                    self._log(logging.ERROR, "Error notifying listener", exc_info=error)
                took = perf_counter() - began
                if took > SLOW_LISTENER:
                    self._log(
                        logging.WARNING,
                        "Listener %r took %.1f s for %r. It holds up what caused the event: let "
                        "it hand long work to a thread or a job",
                        callback,
                        took,
                        event,
                    )

    def _await_listener(self, answer: Awaitable[Any]) -> None:
        """Bring a coroutine listener to its end."""
        self._await(answer)

    def _await(self, awaitable: Awaitable[Any]) -> Any:
        """Wait in this thread for an awaitable, on a loop that the scheduler owns."""
        from apscheduler.executors._coroutines import CoroutineThread

        if self._coroutines is None:
            with self._listeners_lock:
                self._coroutines = self._coroutines or CoroutineThread()
        return self._coroutines.run(awaitable)

    # -- reports of executors of 3.x ------------------------------------------------------------

    def _submission_succeeded(
        self, executor: str, job_id: str, events: Sequence[JobExecutionEvent]
    ) -> None:
        self._loop.runner.submission_succeeded(executor, job_id, events)

    def _submission_failed(
        self, executor: str, job_id: str, error: BaseException, traceback: str | None = None
    ) -> None:
        self._loop.runner.submission_failed(executor, job_id, error, traceback)


#: What tells the listeners, and nobody else.
_DISPATCH = SchedulerCore._dispatch_event
