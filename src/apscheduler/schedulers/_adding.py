"""The face of a scheduler that adds jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from functools import partial
from typing import Any, ClassVar, TypeVar

from apscheduler import _engine
from apscheduler._config import JOB_DEFAULTS, Plugin, load_plugin
from apscheduler._holds import Holds
from apscheduler.events import EVENT_JOB_ADDED, JobEvent
from apscheduler.job import Job
from apscheduler.runs import JobChange, JobChangeKind
from apscheduler.schedulers._core import STATE_RUNNING, STATE_STOPPED
from apscheduler.schedulers._storing import StoreMethods
from apscheduler.triggers.base import BaseTrigger
from apscheduler.util import _Undefined as Undefined
from apscheduler.util import convert_to_datetime, undefined

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
U = TypeVar("U")

#: Arguments of a job beside its callable, and those of its trigger, where they are not given.
_OPTIONAL: dict[str, Any] = {
    "trigger": None,
    "args": None,
    "kwargs": None,
    "id": None,
    "name": None,
    "misfire_grace_time": undefined,
    "coalesce": undefined,
    "max_instances": undefined,
    "next_run_time": undefined,
    "executor": "default",
    "recover": undefined,
}


class AddMethods(StoreMethods):
    """Jobs that get into the job stores of a scheduler, or wait for it to start."""

    # What was looked at last, and what came of it.
    _checked_defaults: tuple[Mapping[str, Any], Mapping[str, Any]] = JOB_DEFAULTS, JOB_DEFAULTS
    _create_trigger: Callable[[Any, dict[str, Any]], BaseTrigger]
    _trigger_plugins: Mapping[str, Plugin]
    _trigger_classes: ClassVar[dict[str, type[BaseTrigger]]]

    def add_job(
        self,
        func: Callable[..., Any] | str,
        trigger: BaseTrigger | str | None = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        id: str | None = None,
        name: str | None = None,
        misfire_grace_time: int | Undefined | None = undefined,
        coalesce: bool | Undefined = undefined,
        max_instances: int | Undefined = undefined,
        next_run_time: datetime | date | str | Undefined | None = undefined,
        jobstore: str = "default",
        executor: str = "default",
        replace_existing: bool = False,
        *,
        recover: bool | Undefined = undefined,
        **trigger_args: Any,
    ) -> Job:
        """Add a job.

        On a stopped scheduler the job is pending, and gets to its job store when that starts.

        :param func: what to call, or a reference to it (``"package.module:name"``); a coroutine
            function is run on an event loop, whatever the scheduler
        :param trigger: when to call it: a trigger, or the name of one (``"date"``,
            ``"interval"``, ``"cron"``, ...) that is made with ``trigger_args``. By default the
            job runs once, at once
        :param args: positional arguments of the call
        :param kwargs: keyword arguments of the call
        :param id: unique within the job store; by default one is made up
        :param name: for people to read; by default that of the callable
        :param misfire_grace_time: by how many seconds a run may be late, because nobody was there
            to start it, and still be started; None for any number. 1 by default
        :param coalesce: whether one run stands for all that are due at once. True by default
        :param max_instances: how many runs of the job may overlap. 1 by default
        :param next_run_time: when to run first, instead of when the trigger says; without a time
            zone it is taken in that of the scheduler. None adds the job paused
        :param jobstore: alias of the job store that keeps the job
        :param executor: alias of the executor that runs it
        :param replace_existing: take the place of a job with the same id. If the trigger is the
            same, the job goes on where that one was
        :param recover: whether a run is repeated if the process that was running it dies: by any
            other that shares the job store. False by default, since the function may then be
            called twice for one run time. If the trigger is made here, and its constructor has a
            parameter of that name, it is for the trigger
        :raises ConflictingIdError: if there is a job by that id, and ``replace_existing`` is not
            set
        :raises KeyError: if the scheduler runs and has no such job store
        :raises LookupError: if a reference leads nowhere, or there is no trigger by that name
        :raises TypeError: if an argument is of the wrong type
        :raises ValueError: if the arguments do not suit the callable
        """
        job = self._make_job(
            func,
            trigger,
            args,
            kwargs,
            id,
            name,
            misfire_grace_time,
            coalesce,
            max_instances,
            next_run_time,
            executor,
            recover,
            trigger_args,
        )
        if (
            self.state == STATE_STOPPED
            and self._is_stopped()
            and self._add_pending([(job, jobstore, replace_existing)])
        ):
            return job
        self._real_add_job(job, jobstore, replace_existing)
        return job

    def add_jobs(
        self, specs: Iterable[Mapping[str, Any]], replace_existing: bool = False
    ) -> list[Job]:
        """Add many jobs at once: to each job store all that are for it, or none of them.

        If one of them cannot be made, none is added to any job store, and a note of the exception
        tells which it was. Those that take the place of others are added one by one.

        :param specs: for each job the arguments of `add_job` by their names, those of the trigger
            among them
        :param replace_existing: take the place of jobs with the same ids. Where the trigger is
            the same, the job goes on where that one was
        :return: the jobs, in the order of ``specs``
        :raises ConflictingIdError: if there is a job by the id of one of them, and
            ``replace_existing`` is not set
        :raises KeyError: if the scheduler runs and has no such job store
        :raises LookupError: if a reference leads nowhere, or there is no trigger by that name
        :raises TypeError: if an argument is missing, or of the wrong type
        :raises ValueError: if the arguments do not suit the callable
        """
        if isinstance(specs, Mapping):
            raise TypeError("specs must be a list, or the like, of mappings; got a single one")
        made = list(_each(self._make_specified, specs))
        jobs = [job for job, _ in made]
        if not (
            self._is_stopped()
            and self._add_pending([(job, alias, replace_existing) for job, alias in made])
        ):
            self._really_add_jobs(made, replace_existing)
        return jobs

    def scheduled_job(
        self,
        trigger: BaseTrigger | str | None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        id: str | None = None,
        name: str | None = None,
        misfire_grace_time: int | Undefined | None = undefined,
        coalesce: bool | Undefined = undefined,
        max_instances: int | Undefined = undefined,
        next_run_time: datetime | date | str | Undefined | None = undefined,
        jobstore: str = "default",
        executor: str = "default",
        *,
        recover: bool | Undefined = undefined,
        **trigger_args: Any,
    ) -> Callable[[F], F]:
        """Return a decorator that adds the function as a job, in place of one with the same id.

        The arguments are those of `add_job`. The function itself stays as it is.
        """
        # An `add_job` that somebody has written for 3.x knows nothing of it.
        if recover is not undefined:
            trigger_args["recover"] = recover

        def inner(func: F) -> F:
            self.add_job(
                func,
                trigger,
                args,
                kwargs,
                id,
                name,
                misfire_grace_time,
                coalesce,
                max_instances,
                next_run_time,
                jobstore,
                executor,
                True,
                **trigger_args,
            )
            return func

        return inner

    # -- making jobs ----------------------------------------------------------------------------

    def _make_job(
        self,
        func: Callable[..., Any] | str,
        trigger: BaseTrigger | str | None,
        args: Iterable[Any] | None,
        kwargs: Mapping[str, Any] | None,
        id: str | None,
        name: str | None,
        misfire_grace_time: int | Undefined | None,
        coalesce: bool | Undefined,
        max_instances: int | Undefined,
        next_run_time: datetime | date | str | Undefined | None,
        executor: str,
        recover: bool | Undefined,
        trigger_args: dict[str, Any],
    ) -> Job:
        policy: dict[str, Any] = {}
        if misfire_grace_time is not undefined:
            policy["misfire_grace_time"] = misfire_grace_time
        if coalesce is not undefined:
            policy["coalesce"] = coalesce
        if max_instances is not undefined:
            policy["max_instances"] = max_instances
        if next_run_time is not undefined:
            policy["next_run_time"] = next_run_time
        if recover is not undefined:
            for_trigger = self._takes("recover", trigger)
            (trigger_args if for_trigger else policy)["recover"] = recover
        return Job._made(
            self,  # type: ignore[arg-type]  # every scheduler is a BaseScheduler
            id,
            self._create_trigger(trigger, trigger_args),
            executor,
            func,
            () if args is None else _converted("args", tuple, args),
            None if kwargs is None else _converted("kwargs", dict, kwargs),
            name,
            policy,
            {} if self.state == STATE_STOPPED else self._approved_defaults(),
        )

    def _make_specified(self, spec: Mapping[str, Any]) -> tuple[Job, str]:
        """Return a job, and the alias of the job store that it is for."""
        if not isinstance(spec, Mapping):
            raise TypeError(f"a job must be given as a mapping of arguments, got {spec!r}")
        given = dict(spec)
        if "func" not in given:
            raise TypeError(f'a job needs a "func", which says what to call; got {spec!r}')
        if "replace_existing" in given:
            raise TypeError("replace_existing is for all jobs: give it to add_jobs() itself")
        func, alias = given.pop("func"), given.pop("jobstore", "default")
        options = {name: given.pop(name, default) for name, default in _OPTIONAL.items()}
        return self._make_job(func, **options, trigger_args=given), alias

    def _takes(self, option: str, trigger: BaseTrigger | str | None) -> bool:
        """Tell whether a trigger that is still to be made has a parameter of that name."""
        if not isinstance(trigger, str):
            return False
        # Not imported before it is needed: it brings a dozen modules with it.
        from inspect import signature

        plugins, classes = self._trigger_plugins, self._trigger_classes
        trigger_class = load_plugin("trigger", trigger, plugins, classes, BaseTrigger)
        return option in signature(trigger_class).parameters

    def _approved_defaults(self) -> Mapping[str, Any]:
        """Return the policy of jobs that have none of their own."""
        checked = self._checked_defaults
        if checked[0] != self._job_defaults:
            # Whether they are any good is only asked when a job needs them, and not for each job.
            approved = Job.__new__(Job)._approve({**JOB_DEFAULTS, **self._job_defaults})
            checked = self._checked_defaults = dict(self._job_defaults), approved
        return checked[1]

    # -- storing jobs ---------------------------------------------------------------------------

    def _add_pending(self, entries: list[tuple[Job, str, bool]]) -> bool:
        with self._jobstores_lock:
            if not self._is_stopped():
                return False  # It was started in the meantime.
            self._pending_jobs += entries
        for _ in entries:
            self._log(
                logging.INFO,
                "Adding job tentatively -- it will be properly scheduled when the scheduler "
                "starts",
            )
        return True

    def _real_add_job(self, job: Job, jobstore_alias: str, replace_existing: bool) -> None:
        """Complete a job, put it into its job store and tell of it."""
        now = self._clock.now()
        keep_phase = self._complete(now, job)

        # No event of a job may overtake the one that announces it.
        heard = self._hears(EVENT_JOB_ADDED)
        announcing = heard and self.state == STATE_RUNNING
        holds = self._loop.holds(jobstore_alias)
        if announcing:
            holds.announce(job.id)
        try:
            self._store_job(job, jobstore_alias, replace_existing, keep_phase, now)
            self._tell_of_added(job, jobstore_alias, holds, keep_phase, heard)
        finally:
            if announcing:
                holds.announced(job.id)
        self._wake_for(job)

    def _complete(self, now: datetime, job: Job) -> bool:
        """Set what is unset of a job; return whether its trigger said when it runs first."""
        keep_phase = not hasattr(job, "next_run_time")
        # A job that was made while the scheduler was running has them already.
        defaults = {} if job._has_policy() else self._approved_defaults()
        if keep_phase:
            first = _engine.first_fire_time(job.trigger, now.astimezone(self.timezone))
            if first is not None and first.tzinfo is None:
                first = convert_to_datetime(first, self.timezone, "next_run_time")
            job.next_run_time = first
        if defaults:
            job._complete(defaults)
        return keep_phase

    def _tell_of_added(
        self, job: Job, alias: str, holds: Holds, keep_phase: bool, heard: bool
    ) -> None:
        holds.forget(job.id)
        if job.next_run_time is None and keep_phase:
            self._warn_exhausted(job)
        if heard:
            self._dispatch_event(JobEvent(EVENT_JOB_ADDED, job.id, alias))
        if self._logger.isEnabledFor(logging.INFO):
            self._log(logging.INFO, 'Added job "%s" to job store "%s"', job.name, alias)

    def _really_add_jobs(self, made: list[tuple[Job, str]], replace_existing: bool) -> None:
        """Complete jobs, put them into their job stores and tell of them."""
        now = self._clock.now()
        for _, alias in made:
            self._lookup_jobstore(alias)
        phases = _each(partial(self._complete, now), [job for job, _ in made])
        by_alias: dict[str, list[tuple[Job, bool]]] = {}
        for (job, alias), keep_phase in zip(made, list(phases), strict=True):
            by_alias.setdefault(alias, []).append((job, keep_phase))
        for alias, jobs in by_alias.items():
            self._add_together(alias, jobs, replace_existing, now)

    def _add_together(
        self, alias: str, jobs: list[tuple[Job, bool]], replace_existing: bool, born: datetime
    ) -> None:
        """Put jobs that are completed into their job store and tell of them.

        :param jobs: with whether the trigger of each said when it runs first
        """
        heard = self._hears(EVENT_JOB_ADDED)
        holds = self._loop.holds(alias)
        # None of them runs before all of them are there, and are told of.
        announced = [job.id for job, _ in jobs] if self.state == STATE_RUNNING else []
        for job_id in announced:
            holds.announce(job_id)
        first = min((job for job, _ in jobs if job.next_run_time), key=_by_time, default=None)
        try:
            for job, keep_phase in self._store_jobs(alias, jobs, replace_existing, born):
                self._tell_of_added(job, alias, holds, keep_phase, heard)
        finally:
            for job_id in announced:
                holds.announced(job_id)
            if first is not None:
                self._wake_for(first)

    def _wake_for(self, job: Job) -> None:
        if self.state == STATE_RUNNING and self._loop.must_wake_for(job.next_run_time):
            self.wakeup()

    def _warn_exhausted(self, job: Job) -> None:
        self._log(
            logging.WARNING,
            'The trigger of job "%s" (%s) has no fire time left: the job is kept, but it will not '
            "run until it is rescheduled",
            job.id,
            job.trigger,
        )
        if job._jobstore_alias is not None:
            change = JobChange(job.id, self._clock.now(), JobChangeKind.EXHAUSTED)
            self._loop.leftovers.note(job._jobstore_alias, change)


def _each(work: Callable[[T], U], things: Iterable[T]) -> Iterator[U]:
    """Yield what ``work`` makes of each thing; what it raises tells of which one."""
    for index, thing in enumerate(things):
        try:
            yield work(thing)
        except Exception as error:
            error.add_note(f"That is about the job at index {index}; no job was added.")
            raise


def _by_time(job: Job) -> float:
    assert job.next_run_time is not None
    return job.next_run_time.timestamp()


def _converted(name: str, convert: type[tuple[Any, ...] | dict[str, Any]], given: Any) -> Any:
    try:
        return convert(given)
    except (TypeError, ValueError) as error:
        wanted = "an iterable" if convert is tuple else "a mapping"
        raise type(error)(f"{name} must be {wanted} of arguments, got {given!r}") from error
