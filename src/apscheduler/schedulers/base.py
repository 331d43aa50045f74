"""The face that all schedulers share: configuration, life and registries.

It delegates, and holds no decision.
"""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime  # noqa: F401  # programs' tests replace it here
from threading import TIMEOUT_MAX, current_thread, main_thread
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from tzlocal import get_localzone

from apscheduler import clock
from apscheduler._config import (
    PLUGINS,
    Plugin,
    build_components,
    create_plugin,
    merge_options,
    read_settings,
)
from apscheduler.events import (
    EVENT_EXECUTOR_ADDED,
    EVENT_EXECUTOR_REMOVED,
    EVENT_JOBSTORE_ADDED,
    EVENT_JOBSTORE_REMOVED,
    EVENT_SCHEDULER_PAUSED,
    EVENT_SCHEDULER_RESUMED,
    EVENT_SCHEDULER_SHUTDOWN,
    EVENT_SCHEDULER_STARTED,
    SchedulerEvent,
)
from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.base import BaseJobStore
from apscheduler.schedulers import SchedulerAlreadyRunningError, SchedulerNotRunningError
from apscheduler.schedulers._core import (
    STATE_PAUSED,
    STATE_RUNNING,
    STATE_STOPPED,
    SchedulerCore,
    seconds_given,
)
from apscheduler.schedulers._jobs import JobMethods
from apscheduler.schedulers._runs import RunMethods
from apscheduler.triggers.base import BaseTrigger

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
    from importlib import import_module

    from apscheduler import events, util

    if name in _ALSO_HERE:
        return getattr(import_module(_ALSO_HERE[name]), name)
    for module in (events, util):
        if name in module.__all__:
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_PLUGIN_BASES: dict[str, type] = {
    "trigger": BaseTrigger,
    "executor": BaseExecutor,
    "jobstore": BaseJobStore,
}


class BaseScheduler(JobMethods, RunMethods, SchedulerCore, ABC):
    """What every scheduler can do; a subclass knows how one framework waits and wakes.

    A subclass calls `_process_jobs` whenever the time it answered has passed, or `wakeup` was
    called; that is all there is to driving a scheduler.

    :param gconfig: options by dotted key, each beginning with ``apscheduler.``
    :param options: options by name; they win over those of ``gconfig``. See `configure`
    """

    _trigger_plugins: Mapping[str, Plugin] = PLUGINS["trigger"]
    _trigger_classes: ClassVar[dict[str, type[BaseTrigger]]] = {}
    _executor_plugins: Mapping[str, Plugin] = PLUGINS["executor"]
    _executor_classes: ClassVar[dict[str, type[BaseExecutor]]] = {}
    _jobstore_plugins: Mapping[str, Plugin] = PLUGINS["jobstore"]
    _jobstore_classes: ClassVar[dict[str, type[BaseJobStore]]] = {}

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

    def _create_plugin_instance(
        self, type_: str, alias: str, constructor_kwargs: dict[str, Any]
    ) -> Any:
        """Return a new instance of the plug-in of a kind by its name.

        :raises LookupError: if there is none by that name
        """
        plugins = getattr(self, f"_{type_}_plugins")
        classes = getattr(self, f"_{type_}_classes")
        base = _PLUGIN_BASES[type_]
        return create_plugin(type_, alias, constructor_kwargs, plugins, classes, base)

    def _create_trigger(self, trigger: Any, trigger_args: dict[str, Any]) -> BaseTrigger:
        """Return a trigger; if it is made here, times that name no zone are the scheduler's."""
        if isinstance(trigger, BaseTrigger):
            return trigger
        if trigger is None:
            trigger = "date"
        elif not isinstance(trigger, str):
            raise TypeError(
                f"Expected a trigger instance or string, got {type(trigger).__name__} instead"
            )
        # Combined triggers have no times of their own.
        if trigger not in ("and", "or"):
            trigger_args.setdefault("timezone", self.timezone)
        with clock.in_force(self._clock):
            made = self._create_plugin_instance("trigger", trigger, trigger_args)
        assert isinstance(made, BaseTrigger)
        return made

    def _create_default_executor(self) -> BaseExecutor:
        """Return the executor that gets the alias ``default`` if the program names none."""
        from apscheduler.executors.pool import ThreadPoolExecutor

        return ThreadPoolExecutor()

    def _create_default_jobstore(self) -> BaseJobStore:
        """Return the job store that gets the alias ``default`` if the program names none."""
        from apscheduler.jobstores.memory import MemoryJobStore

        return MemoryJobStore()

    # -- life -----------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the scheduler has been started and not shut down; also true while paused."""
        return self.state != STATE_STOPPED

    def start(self, paused: bool = False) -> None:
        """Start the executors and job stores, add the pending jobs and begin to run them.

        If something fails, all that was started is shut down again and the pending jobs stay.

        :param paused: if true, run no job until `resume` is called
        :raises SchedulerAlreadyRunningError: if the scheduler is not stopped
        :raises RuntimeError: under uWSGI without threads
        :raises ConflictingIdError: if the id of a pending job is taken
        :raises KeyError: if a pending job is for a job store that there is not
        """
        if self.state != STATE_STOPPED:
            raise SchedulerAlreadyRunningError
        self._check_uwsgi()
        self._loop.present("no scheduler was running")
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
        self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_STARTED))
        if not paused:
            self.wakeup()

    def _start_executors(self, undo: list[Any]) -> None:
        if "default" not in self._executors:
            self.add_executor(self._create_default_executor(), "default")
        for alias, executor in list(self._executors.items()):
            undo.append(lambda executor=executor: executor.shutdown(wait=False))
            executor.start(self, alias)

    def _start_jobstores(self, undo: list[Any]) -> None:
        if "default" not in self._jobstores:
            self.add_jobstore(self._create_default_jobstore(), "default")
        for alias, store in list(self._jobstores.items()):
            undo.append(store.shutdown)
            store.start(self, alias)

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
            new = self._seam(alias).lookup_job(job.id) is None
            undo.append(lambda job=job, unset=unset: _make_pending(job, unset))
            self._real_add_job(job, alias, replace_existing)
            if new:
                undo.append(lambda job=job, alias=alias: self._seam(alias).remove_job(job.id))
            added += 1

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
            if self.state == STATE_STOPPED:
                raise SchedulerNotRunningError
            self.state = STATE_STOPPED
        self._loop.stopping = True
        inside = self._loop.runner.here()
        if wait and (inside is not None or timeout is not None):
            # An executor would wait for the caller itself, or for ever.
            self._loop.runner.wait_until_idle(timeout, but=inside)
            wait = False
        for alias, executor in list(self._executors.items()):
            try:
                executor.shutdown(wait)
            except Exception as error:
                self._log(
                    logging.ERROR, 'Error shutting down executor "%s"', alias, exc_info=error
                )
        for alias, store in list(self._jobstores.items()):
            try:
                self._loop.runner.write_left_over(alias)
                store.shutdown()
            except Exception as error:
                self._log(
                    logging.ERROR, 'Error shutting down job store "%s"', alias, exc_info=error
                )
        self._log(logging.INFO, "Scheduler has been shut down")
        self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_SHUTDOWN))
        if self._coroutines is not None:
            self._coroutines.close()

    def pause(self) -> None:
        """Run no job until `resume` is called.

        :raises SchedulerNotRunningError: if the scheduler is stopped
        """
        if self.state == STATE_STOPPED:
            raise SchedulerNotRunningError
        if self.state == STATE_RUNNING:
            self.state = STATE_PAUSED
            self._log(logging.INFO, "Paused scheduler job processing")
            self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_PAUSED))

    def resume(self) -> None:
        """Run jobs again after `pause`, or after ``start(paused=True)``.

        :raises SchedulerNotRunningError: if the scheduler is stopped
        """
        if self.state == STATE_STOPPED:
            raise SchedulerNotRunningError
        if self.state == STATE_PAUSED:
            self._loop.present("the scheduler was paused")
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
            # Only in the main thread has somebody asked for the program itself to end.
            if not isinstance(error, Exception) and current_thread() is main_thread():
                raise
            self._log(
                logging.ERROR,
                "Error processing jobs; they are processed again soon",
                exc_info=error,
            )
            return min(1.0, self.jobstore_retry_interval)

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

    # -- executors and job stores ---------------------------------------------------------------

    def add_executor(
        self, executor: BaseExecutor | str, alias: str = "default", **executor_opts: Any
    ) -> None:
        """Add an executor; it is started at once if the scheduler is.

        :param executor: an instance, or the name of a kind of executor
        :param alias: the name by which jobs choose it
        :param executor_opts: arguments of the executor that is made if a name is given
        :raises ValueError: if there is an executor by that alias
        :raises TypeError: if ``executor`` is neither
        :raises LookupError: if there is no kind of executor by that name
        """
        with self._executors_lock:
            if alias in self._executors:
                raise ValueError(
                    f'This scheduler already has an executor by the alias of "{alias}"'
                )
            if isinstance(executor, str):
                executor = self._create_plugin_instance("executor", executor, executor_opts)
            elif not isinstance(executor, BaseExecutor):
                raise TypeError(
                    f"Expected an executor instance or a string, got "
                    f"{type(executor).__name__} instead"
                )
            assert isinstance(executor, BaseExecutor)
            if self.state != STATE_STOPPED:
                executor.start(self, alias)
                self._loop.executor_joins(alias)
            self._executors[alias] = executor
            self._loop.executor_joined(alias)
        self._dispatch_event(SchedulerEvent(EVENT_EXECUTOR_ADDED, alias))
        if self.state == STATE_RUNNING:
            self.wakeup()

    def remove_executor(self, alias: str, shutdown: bool = True) -> None:
        """Remove an executor. Jobs that name it wait until there is one by that alias again.

        :param alias: the alias it was added under
        :param shutdown: whether to shut it down, and wait for the jobs it is running
        :raises KeyError: if there is no executor by that alias
        """
        with self._executors_lock:
            executor = self._lookup_executor(alias)
            del self._executors[alias]
        if shutdown:
            # A job that removes its own executor cannot wait for itself.
            executor.shutdown(wait=self._loop.runner.here() is None)
        self._dispatch_event(SchedulerEvent(EVENT_EXECUTOR_REMOVED, alias))

    def add_jobstore(
        self, jobstore: BaseJobStore | str, alias: str = "default", **jobstore_opts: Any
    ) -> None:
        """Add a job store; it is started at once if the scheduler is.

        :param jobstore: an instance, or the name of a kind of job store
        :param alias: the name by which jobs are put into it
        :param jobstore_opts: arguments of the job store that is made if a name is given
        :raises ValueError: if there is a job store by that alias
        :raises TypeError: if ``jobstore`` is neither
        :raises LookupError: if there is no kind of job store by that name
        """
        with self._jobstores_lock:
            if alias in self._jobstores:
                raise ValueError(
                    f'This scheduler already has a job store by the alias of "{alias}"'
                )
            if isinstance(jobstore, str):
                jobstore = self._create_plugin_instance("jobstore", jobstore, jobstore_opts)
            elif not isinstance(jobstore, BaseJobStore):
                raise TypeError(
                    f"Expected a job store instance or a string, got "
                    f"{type(jobstore).__name__} instead"
                )
            assert isinstance(jobstore, BaseJobStore)
            if self.state != STATE_STOPPED:
                jobstore.start(self, alias)
                self._loop.store_added(alias)
            self._jobstores[alias] = jobstore
        self._dispatch_event(SchedulerEvent(EVENT_JOBSTORE_ADDED, alias))
        if self.state != STATE_STOPPED:
            self.wakeup()

    def remove_jobstore(self, alias: str, shutdown: bool = True) -> None:
        """Remove a job store, with its jobs.

        :param alias: the alias it was added under
        :param shutdown: whether to shut it down
        :raises KeyError: if there is no job store by that alias
        """
        with self._jobstores_lock:
            jobstore = self._lookup_jobstore(alias)
            del self._jobstores[alias]
        if shutdown:
            jobstore.shutdown()
        self._dispatch_event(SchedulerEvent(EVENT_JOBSTORE_REMOVED, alias))


#: What a job gets only when it is really added.
_COMPLETED_AT_START = ("misfire_grace_time", "coalesce", "max_instances", "next_run_time")


def _make_pending(job: Job, unset: list[str]) -> None:
    """Take back what was set when the job was really added."""
    job._jobstore_alias = None
    for name in unset:
        if hasattr(job, name):
            delattr(job, name)
