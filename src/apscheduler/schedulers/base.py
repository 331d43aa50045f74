"""The face that all schedulers share: configuration and life.

It delegates, and holds no decision.
"""

from __future__ import annotations

import logging
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime  # noqa: F401  # programs' tests replace it here
from functools import partial
from threading import TIMEOUT_MAX, current_thread, main_thread
from typing import TYPE_CHECKING, Any, NoReturn

from apscheduler import clock
from apscheduler._config import (
    build_components,
    merge_options,
    read_settings,
)
from apscheduler.events import (
    EVENT_SCHEDULER_PAUSED,
    EVENT_SCHEDULER_RESUMED,
    EVENT_SCHEDULER_SHUTDOWN,
    EVENT_SCHEDULER_STARTED,
    SchedulerEvent,
)
from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.base import BaseJobStore, SharedJobStore
from apscheduler.schedulers import SchedulerAlreadyRunningError, SchedulerNotRunningError
from apscheduler.schedulers._core import (
    STATE_PAUSED,
    STATE_RUNNING,
    STATE_STOPPED,
    seconds_given,
)
from apscheduler.schedulers._health import HealthMethods
from apscheduler.schedulers._jobs import JobMethods
from apscheduler.schedulers._listing import ListingMethods
from apscheduler.schedulers._registry import RegistryMethods
from apscheduler.schedulers._runs import RunMethods
from apscheduler.triggers.base import BaseTrigger
from apscheduler.util import get_localzone as get_localzone

if TYPE_CHECKING:
    from apscheduler.job import Job

__all__ = ("STATE_PAUSED", "STATE_RUNNING", "STATE_STOPPED", "BaseScheduler")

#: What 3.x could also be asked for here; looked up when somebody does.
_ALSO_HERE = {
    "ConflictingIdError": "apscheduler.jobstores.base",
    "Job": "apscheduler.job",
    "JobLookupError": "apscheduler.jobstores.base",
    "MaxInstancesReachedError": "apscheduler.executors.base",
    "MemoryJobStore": "apscheduler.jobstores.memory",
    "ThreadPoolExecutor": "apscheduler.executors.pool",
}


def __getattr__(name: str) -> Any:
    from apscheduler import events, util

    if name in _ALSO_HERE:
        from importlib import import_module

        return getattr(import_module(_ALSO_HERE[name]), name)
    for module in (events, util):
        if name in module.__all__:
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class BaseScheduler(ListingMethods, JobMethods, RunMethods, HealthMethods, RegistryMethods, ABC):
    """What every scheduler can do; a subclass knows how one framework waits and wakes.

    A subclass calls `_process_jobs` whenever the time it answered has passed, or `wakeup` was
    called; that is all there is to driving a scheduler.

    :param gconfig: options by dotted key, each beginning with ``apscheduler.``
    :param options: options by name; they win over those of ``gconfig``. See `configure`
    """

    def __init__(self, gconfig: Mapping[str, Any] = {}, **options: Any) -> None:
        super().__init__()
        self.configure(gconfig, **options)

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            "Schedulers cannot be serialized, and neither can what holds one: an argument of a "
            "job, or the object whose method is its callable. Let the job find the scheduler "
            "where the program keeps it"
        )

    # -- configuration --------------------------------------------------------------------------

    def configure(
        self,
        gconfig: Mapping[str, Any] = {},
        prefix: str | None = "apscheduler.",
        **options: Any,
    ) -> None:
        """Set all options, those that are not given to their defaults.

        Jobs that were added, and listeners, stay. The options are: ``logger``, ``timezone`` (by
        default that of this machine), ``jobstore_retry_interval`` (the longest time in seconds
        until a job store that failed is asked again, 10), ``job_defaults``
        (``misfire_grace_time``, ``coalesce``, ``max_instances``), ``executors`` and ``jobstores``
        (by alias an instance, or a dict with ``type`` or ``class`` and the arguments of its
        constructor), ``max_sleep`` (seconds after which the clock is looked at again, 10) and
        ``clock``.

        :param gconfig: options by dotted key
        :param prefix: only keys that begin with it count, without it
        :param options: options by name; they win over those of ``gconfig``
        :raises SchedulerAlreadyRunningError: if the scheduler is not stopped
        :raises TypeError: if an option is of the wrong type
        :raises ValueError: if an option cannot be understood
        """
        if self.state != STATE_STOPPED:
            raise SchedulerAlreadyRunningError
        self._configure(merge_options(gconfig, prefix, options))

    def _configure(self, config: dict[str, Any]) -> None:
        """Take the options of a merged tree; subclasses take theirs, and then call this."""
        settings = read_settings(config, lambda: get_localzone())
        executors = build_components(
            "executors",
            config.get("executors", {}),
            BaseExecutor,
            lambda name, options: self._create_plugin_instance("executor", name, options),
        )
        jobstores = build_components(
            "jobstores",
            config.get("jobstores", {}),
            BaseJobStore,
            lambda name, options: self._create_plugin_instance("jobstore", name, options),
        )

        self._logger = settings.logger
        self.timezone = settings.timezone
        self.jobstore_retry_interval = settings.jobstore_retry_interval
        self._job_defaults = settings.job_defaults
        self._max_sleep = settings.max_sleep
        self._clock = settings.clock
        self._executors.clear()
        for alias, executor in executors.items():
            self.add_executor(executor, alias)
        self._jobstores.clear()
        for alias, jobstore in jobstores.items():
            self.add_jobstore(jobstore, alias)

    def _create_trigger(self, trigger: Any, trigger_args: dict[str, Any]) -> BaseTrigger:
        """Return a trigger; if it is made here, times that name no zone are the scheduler's."""
        if trigger is None:
            trigger = "date"
        elif not isinstance(trigger, str):
            if isinstance(trigger, BaseTrigger):
                return trigger
            raise TypeError(
                f"Expected a trigger instance or string, got {type(trigger).__name__} instead"
            )
        # Combined triggers have no times of their own.
        if trigger not in ("and", "or"):
            trigger_args.setdefault("timezone", self.timezone)
        made: BaseTrigger
        if clock.ambient() is self._clock:
            made = self._create_plugin_instance("trigger", trigger, trigger_args)
        else:
            with clock.in_force(self._clock):
                made = self._create_plugin_instance("trigger", trigger, trigger_args)
        return made

    # -- life -----------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the scheduler has been started and not shut down; also true while paused."""
        return self.state != STATE_STOPPED

    def start(self, paused: bool = False, role: str = "scheduler") -> None:
        """Start the executors and job stores, add the pending jobs and begin to run them.

        If something fails, all that was started is shut down again and the pending jobs stay.
        Jobs that were added already are taken back, but for those that other processes may rely
        on: in a job store that is shared, those with ``replace_existing``, and those that
        somebody has changed since.

        :param paused: if true, run no job until `resume` is called
        :param role: ``"scheduler"``, or ``"client"`` for one that runs no jobs itself: it adds,
            changes and lists those that other schedulers run, in job stores that they share
        :raises SchedulerAlreadyRunningError: if the scheduler is not stopped
        :raises RuntimeError: under uWSGI without threads
        :raises ConflictingIdError: if the id of a pending job is taken
        :raises KeyError: if a pending job is for a job store that there is not
        :raises ValueError: if there is no such role, or a client has a job store of its own
        """
        if self.state != STATE_STOPPED:
            raise SchedulerAlreadyRunningError
        if role not in ROLES:
            raise ValueError(f"role must be one of {', '.join(ROLES)}, got {role!r}")
        self._check_uwsgi()
        self._carry_over()
        self._started_in = os.getpid()
        self._loop.begin(is_client=role == "client", is_paused=paused)
        undo: list[Any] = []
        try:
            self._start_executors(undo)
            self._start_jobstores(undo)
            self._add_pending_jobs(undo, STATE_PAUSED if paused else STATE_RUNNING)
        except BaseException:
            self.state = STATE_STOPPED
            for step in reversed(undo):
                try:
                    step()
                except Exception as error:
                    self._log(logging.ERROR, "Error undoing a start that failed", exc_info=error)
            raise
        self._log(logging.INFO, "Scheduler started")
        self._tell_of_other_processes()
        self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_STARTED))
        if not paused:
            self.wakeup()

    def _add_pending_jobs(self, undo: list[Any], state: int) -> None:
        added = 0
        while True:
            with self._jobstores_lock:
                if added == len(self._pending_jobs):
                    # From here on `add_job` goes to the job stores by itself.
                    self._pending_jobs = []
                    self.state = state
                    return
                job, alias, replace_existing = self._pending_jobs[added]
            unset = [name for name in _COMPLETED_AT_START if not hasattr(job, name)]
            # One that replaces none is refused if there is one.
            new = not replace_existing or self._seam(alias).lookup_job(job.id) is None
            undo.append(lambda job=job, unset=unset: _make_pending(job, unset))
            self._real_add_job(job, alias, replace_existing)
            if new:
                undo.append(partial(self._take_back, job, alias, replace_existing))
            added += 1

    def _take_back(self, job: Job, alias: str, replaces: bool) -> None:
        """Remove a job of a start that failed, unless another process may rely on it by now."""
        store = self._seam(alias)
        if isinstance(store, SharedJobStore):
            # What another process has put in the place of one that replaces may look the same.
            stored = None if replaces else store.lookup_job(job.id)
            if stored is None or not _is_same(stored, job):
                return
        store.remove_job(job.id)

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> None:
        """Stop running jobs, and shut the executors and job stores down.

        Called from inside a job, it does not wait for that job.

        :param wait: whether to wait until the jobs that are running have ended
        :param timeout: for how many seconds to wait at most; None for as long as it takes
        :raises SchedulerNotRunningError: if the scheduler is stopped
        :raises TypeError: if ``timeout`` is not a number
        :raises ValueError: if ``timeout`` is negative
        """
        if timeout is not None:
            timeout = seconds_given("timeout", timeout)
        with self._jobstores_lock:
            if self._has_stopped_in_fork():
                return
            if self.state == STATE_STOPPED:
                raise SchedulerNotRunningError
            self.state = STATE_STOPPED
        self._loop.stopping = True
        inside = self._loop.runner.here()
        if wait and (inside is not None or timeout is not None):
            # An executor would wait for the caller itself, or for ever.
            self._wait_until_idle(timeout, inside)
            wait = False
        for alias, executor in list(self._executors.items()):
            try:
                self._shut_down_executor(executor, wait)
            except Exception as error:
                self._log(
                    logging.ERROR, 'Error shutting down executor "%s"', alias, exc_info=error
                )
        for alias, store in list(self._jobstores.items()):
            runner, company = self._loop.runner, self._loop.company
            self._try_shutting_down(alias, partial(runner.write_left_over, alias))
            self._try_shutting_down(alias, partial(company.leave, alias))
            self._try_shutting_down(alias, store.shutdown)
        self._log(logging.INFO, "Scheduler has been shut down")
        self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_SHUTDOWN))
        if self._coroutines is not None:
            self._coroutines.close()

    def _try_shutting_down(self, alias: str, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._log(logging.ERROR, 'Error shutting down job store "%s"', alias, exc_info=error)

    def _has_stopped_in_fork(self) -> bool:
        """Tell whether there is nothing to shut down, because the scheduler runs in the parent.

        What a program does at its end, its forks do too, and mean no harm.
        """
        if self.state == STATE_STOPPED and self._forked_from is not None:
            self._log(
                logging.DEBUG,
                "Not shutting down in process %d: the scheduler runs in process %d, and goes on",
                os.getpid(),
                self._forked_from,
            )
            return True
        return False

    def _tell_of_other_processes(self) -> None:
        if self._forked_from is not None:
            self._log(
                logging.INFO,
                "It was running in process %d when process %d was forked off. Here it is a "
                "scheduler of its own, with a copy of the jobs that were in memory there",
                self._forked_from,
                self._started_in,
            )
            self._forked_from = None
        from apscheduler._prefork import siblings

        workers = siblings()
        if workers is not None and self._keeps_jobs_in_memory():
            self._log(
                logging.INFO,
                "This is one of %s worker processes of %s. Each of them that starts a scheduler "
                "runs all of the jobs in its memory. If a job is to run once, start the scheduler "
                "in one process only: %s",
                workers.number or "the",
                workers.server,
                workers.remedy,
            )

    def _keeps_jobs_in_memory(self) -> bool:
        from apscheduler.jobstores.memory import MemoryJobStore

        return any(isinstance(store, MemoryJobStore) for store in self._jobstores.values())

    def _wait_until_idle(self, timeout: float | None, but: str | None) -> None:
        """Wait for the Runs of this scheduler to end, all but that of the caller."""
        self._loop.runner.wait_until_idle(timeout, but=but)

    def pause(self) -> None:
        """Run no job until `resume` is called.

        :raises SchedulerNotRunningError: if the scheduler is stopped
        """
        if self._is_stopped():
            raise SchedulerNotRunningError
        if self.state == STATE_RUNNING:
            self.state = STATE_PAUSED
            self._loop.company.paused(True)
            self._log(logging.INFO, "Paused scheduler job processing")
            self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_PAUSED))

    def resume(self) -> None:
        """Run jobs again after `pause`, or after ``start(paused=True)``.

        :raises SchedulerNotRunningError: if the scheduler is stopped
        """
        if self._is_stopped():
            raise SchedulerNotRunningError
        if self.state == STATE_PAUSED:
            self._loop.present("the scheduler was paused")
            self._loop.company.paused(False)
            self.state = STATE_RUNNING
            self._log(logging.INFO, "Resumed scheduler job processing")
            self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_RESUMED))
            self.wakeup()

    @abstractmethod
    def wakeup(self) -> None:
        """Let the loop look for due jobs now. May be called from any thread."""

    def _process_jobs(self) -> float | None:
        """Run what is due, and return in how many seconds to call this again.

        None means that nothing is planned: only after `wakeup` is there anything to do. Never
        raises.
        """
        if self.state == STATE_PAUSED:
            self._log(logging.DEBUG, "The scheduler is paused: not looking for jobs to run")
            return None
        self._log(logging.DEBUG, "Looking for jobs to run")
        seconds = self._turn()
        if self.state == STATE_PAUSED:
            self._log(logging.DEBUG, "The scheduler was paused: waiting until it is resumed")
            return None
        if seconds is None:
            self._log(logging.DEBUG, "No jobs; waiting until a job is added")
        else:
            # What a host waits for with the means of `threading` must not be longer.
            seconds = min(seconds, TIMEOUT_MAX)
            self._log(
                logging.DEBUG,
                "Next wakeup is due at %s (in %f seconds)",
                self._loop.promise and self._loop.promise.astimezone(self.timezone),
                seconds,
            )
        return seconds

    def _process_jobs_safely(self) -> float | None:
        """Do the same, whatever a subclass has made of it: the loop that calls this must go on."""
        try:
            return self._process_jobs()
        except BaseException as error:
            if not isinstance(error, Exception) and self._lets_pass(error):
                raise
            self._log(
                logging.ERROR,
                "Error processing jobs; they are processed again soon",
                exc_info=error,
            )
            return min(1.0, self.jobstore_retry_interval)

    def _lets_pass(self, interrupt: BaseException) -> bool:
        """Tell whether what interrupts a turn is to end the loop."""
        # Only in the main thread has somebody asked for the program itself to end.
        return current_thread() is main_thread()

    def _turn(self) -> float | None:
        return self._loop.turn()

    def _check_uwsgi(self) -> None:
        """Refuse to start where threads cannot run.

        :raises RuntimeError: under uWSGI without threads
        """
        uwsgi = sys.modules.get("uwsgi")
        if uwsgi is not None and not getattr(uwsgi, "has_threads", True):
            raise RuntimeError(
                "The scheduler seems to be running under uWSGI, but threads have been disabled. "
                "You must run uWSGI with the --enable-threads option for the scheduler to work."
            )


#: What a scheduler can be among those that share a job store.
ROLES = ("scheduler", "client")
#: What a job gets only when it is really added.
_COMPLETED_AT_START = ("misfire_grace_time", "coalesce", "max_instances", "next_run_time")


def _make_pending(job: Job, unset: list[str]) -> None:
    """Take back what was set when the job was really added."""
    job._jobstore_alias = None
    for name in unset:
        if hasattr(job, name):
            delattr(job, name)


def _is_same(stored: Job, job: Job) -> bool:
    """Tell whether a job is stored as it was written."""
    states = stored.__getstate__(), job.__getstate__()
    triggers = [state.pop("trigger") for state in states]
    return states[0] == states[1] and bool(triggers[0]._same_schedule(triggers[1]))
