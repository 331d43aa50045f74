"""The face of a scheduler that keeps its executors and job stores, and makes plug-ins."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from apscheduler._config import PLUGINS, Plugin, load_plugin
from apscheduler.events import (
    EVENT_EXECUTOR_ADDED,
    EVENT_EXECUTOR_REMOVED,
    EVENT_JOBSTORE_ADDED,
    EVENT_JOBSTORE_REMOVED,
    SchedulerEvent,
)
from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.base import BaseJobStore, SharedJobStore, overridden_methods
from apscheduler.schedulers._core import STATE_RUNNING, STATE_STOPPED, SchedulerCore
from apscheduler.triggers.base import BaseTrigger

#: By kind: the attributes that hold classes and entry points, and what a class must derive from.
_PLUGINS: dict[str, tuple[str, str, type]] = {
    "trigger": ("_trigger_classes", "_trigger_plugins", BaseTrigger),
    "executor": ("_executor_classes", "_executor_plugins", BaseExecutor),
    "jobstore": ("_jobstore_classes", "_jobstore_plugins", BaseJobStore),
}


class RegistryMethods(SchedulerCore):
    """Executors and job stores by their aliases, and kinds of plug-ins by their names."""

    _trigger_plugins: Mapping[str, Plugin] = PLUGINS["trigger"]
    _trigger_classes: ClassVar[dict[str, type[BaseTrigger]]] = {}
    _executor_plugins: Mapping[str, Plugin] = PLUGINS["executor"]
    _executor_classes: ClassVar[dict[str, type[BaseExecutor]]] = {}
    _jobstore_plugins: Mapping[str, Plugin] = PLUGINS["jobstore"]
    _jobstore_classes: ClassVar[dict[str, type[BaseJobStore]]] = {}

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
                executor.start(self, alias)  # type: ignore[arg-type]  # every one is a BaseScheduler
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
            self._shut_down_executor(executor, self._loop.runner.here() is None)
        self._dispatch_event(SchedulerEvent(EVENT_EXECUTOR_REMOVED, alias))

    def _shut_down_executor(self, executor: BaseExecutor, wait: bool) -> None:
        executor.shutdown(wait)

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
                self._warn_unshared(jobstore, alias)
            self._jobstores[alias] = jobstore
            if self.state != STATE_STOPPED:
                try:
                    self._loop.company.join(alias)
                except BaseException:
                    del self._jobstores[alias]
                    jobstore.shutdown()
                    raise
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
            self._loop.company.leave(alias)
            del self._jobstores[alias]
        if shutdown:
            jobstore.shutdown()
        self._dispatch_event(SchedulerEvent(EVENT_JOBSTORE_REMOVED, alias))

    # -- for subclasses, and the rest of the face -------------------------------------------------

    def _create_plugin_instance(
        self, type_: str, alias: str, constructor_kwargs: dict[str, Any]
    ) -> Any:
        """Return a new instance of the plug-in of a kind by its name.

        :raises LookupError: if there is none by that name
        """
        classes, plugins, base_class = _PLUGINS[type_]
        known: dict[str, Any] = getattr(self, classes)
        plugin_class = known.get(alias)
        if plugin_class is None:
            plugin_class = load_plugin(type_, alias, getattr(self, plugins), known, base_class)
        return plugin_class(**constructor_kwargs)

    def _create_default_executor(self) -> BaseExecutor:
        """Return the executor that gets the alias ``default`` if the program names none."""
        from apscheduler.executors.pool import ThreadPoolExecutor

        return ThreadPoolExecutor()

    def _create_default_jobstore(self) -> BaseJobStore:
        """Return the job store that gets the alias ``default`` if the program names none."""
        from apscheduler.jobstores.memory import MemoryJobStore

        return MemoryJobStore()

    def _start_executors(self, undo: list[Any]) -> None:
        if "default" not in self._executors:
            self.add_executor(self._create_default_executor(), "default")
        for alias, executor in list(self._executors.items()):
            undo.append(lambda executor=executor: executor.shutdown(wait=False))
            executor.start(self, alias)  # type: ignore[arg-type]  # every one is a BaseScheduler

    def _start_jobstores(self, undo: list[Any]) -> None:
        if "default" not in self._jobstores:
            self.add_jobstore(self._create_default_jobstore(), "default")
        for alias, store in list(self._jobstores.items()):
            undo.append(store.shutdown)
            store.start(self, alias)
            # Only now it is known whether others can share it.
            if isinstance(store, SharedJobStore):
                self._seams.pop(alias, None)
                self._warn_unshared(store, alias)
            undo.append(lambda alias=alias: self._loop.company.leave(alias))
            self._loop.company.join(alias)

    def _warn_unshared(self, store: BaseJobStore, alias: str) -> None:
        """Warn of a store that could be shared, had nobody changed what 3.x asks of it."""
        if not isinstance(store, SharedJobStore) or not store.can_be_shared:
            return
        overridden = overridden_methods(store)
        if overridden:
            self._log(
                logging.WARNING,
                'Job store "%s" is not shared: only one scheduler may use it, and its runs are '
                "kept in memory only. Its class, %s, overrides %s, which are called only where a "
                "store works as in 3.x. Override none of them to share it",
                alias,
                type(store).__qualname__,
                ", ".join(f"{name}()" for name in overridden),
            )
