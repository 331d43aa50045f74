"""The definition of a job: what to call, when, and under which policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from types import MethodType
from typing import TYPE_CHECKING, Any, Self

from apscheduler._approval import (
    MODIFIABLE,
    POLICIES,
    approve_args,
    approve_executor,
    approve_func,
    approve_id,
    approve_kwargs,
    approve_name,
    approve_trigger,
)
from apscheduler._ids import new_id
from apscheduler.clock import UTC
from apscheduler.triggers._asked import asked_in
from apscheduler.triggers.base import BaseTrigger
from apscheduler.util import (
    check_callable_args,
    convert_to_datetime,
    datetime_repr,
    get_callable_name,
    obj_to_ref,
    ref_to_obj,
)

if TYPE_CHECKING:
    from apscheduler.schedulers.base import BaseScheduler

STATE_VERSION = 1
#: How many due times of a job that coalesces are listed: only the last of them counts.
MAX_COALESCED = 1000


class Job:
    """A callable with its arguments, its trigger and its policy, under an id.

    Only a scheduler makes jobs, and only through a scheduler do they change. Jobs are equal if
    their ids are, and cannot be hashed.

    :ivar id: unique within its job store
    :ivar name: for people to read; by default that of the callable
    :ivar func: what is called
    :ivar func_ref: text that leads to ``func`` (``"module:name"``), None if there is none
    :ivar args: positional arguments of the call
    :ivar kwargs: keyword arguments of the call
    :ivar trigger: says when
    :ivar executor: alias of the executor that runs it
    :ivar recover: whether a run is repeated if the process that was running it dies
    :ivar misfire_grace_time: by how many seconds a run may be late and still be started; None for
        any number
    :ivar coalesce: whether one run stands for all that are due at once
    :ivar max_instances: how many runs may overlap
    :ivar next_run_time: aware datetime of the next run, None while paused

    The last four are unset while the job is pending, unless they were given.
    """

    __slots__ = (
        "__weakref__",
        "_born",
        "_due",
        "_incarnation",
        "_jobstore_alias",
        "_kwargs",
        "_last_slot",
        "_options",
        "_scheduler",
        "_slot",
        "_version",
        "args",
        "coalesce",
        "executor",
        "func",
        "func_ref",
        "id",
        "max_instances",
        "misfire_grace_time",
        "name",
        "next_run_time",
        "trigger",
    )

    _jobstore_alias: str | None
    _scheduler: BaseScheduler
    # What 3.x does not know; None if nothing of it is set. Never changed, only replaced.
    _options: dict[str, Any] | None
    # None if there are none: most jobs need no dict of their own, which the garbage collector
    # would have to count.
    _kwargs: Mapping[str, Any] | None
    # For a job store that keeps the object itself.
    _born: datetime | None
    _due: float | None
    _incarnation: str  # Empty where no store keeps it.
    _last_slot: datetime | None
    _slot: datetime | None
    _version: int
    args: Iterable[Any]
    coalesce: bool
    executor: str
    func: Callable[..., Any]
    func_ref: str | None
    id: str
    max_instances: int
    misfire_grace_time: int | None
    name: str
    next_run_time: datetime | None
    trigger: BaseTrigger

    def __init__(self, scheduler: BaseScheduler, id: str | None = None, **kwargs: Any) -> None:
        self._scheduler = scheduler
        self._jobstore_alias = None
        self._options = None
        self._incarnation = ""
        self._modify(id=id or new_id(), **kwargs)

    @classmethod
    def _made(
        cls,
        scheduler: BaseScheduler,
        id: str | None,
        trigger: BaseTrigger,
        executor: str,
        func: Callable[..., Any] | str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None,
        name: str | None,
        policy: Mapping[str, Any],
        defaults: Mapping[str, Any],
    ) -> Self:
        """Return a new job, in half the time that ``Job(...)`` takes to say the same.

        There the attributes go through `_modify`, as 3.x has it; for a new object they need not
        be collected first.

        :param policy: attributes that may be left unset
        :param defaults: what ``policy`` may leave out, approved already; empty to leave it unset
        """
        job = cls.__new__(cls)
        job._scheduler = scheduler
        job._jobstore_alias = None
        job._options = None
        job._incarnation = ""
        job.id = approve_id(id) if id else new_id()
        called, job.func_ref = approve_func(func)
        job.func = called
        job.args = args
        job._kwargs = kwargs
        check_callable_args(called, args, kwargs or {})
        job.name = get_callable_name(called) if name is None else approve_name(name)
        # To ask an abstract class takes longer than to look for it.
        ours = BaseTrigger in type(trigger).__mro__
        job.trigger = trigger if ours else approve_trigger(trigger)
        job.executor = executor if type(executor) is str else approve_executor(executor)
        if defaults:
            # One by one: `setattr` in a loop takes four times as long.
            job.misfire_grace_time = defaults["misfire_grace_time"]
            job.coalesce = defaults["coalesce"]
            job.max_instances = defaults["max_instances"]
            if len(defaults) > 3:  # A subclass of the scheduler knows more.
                job._apply(defaults)
        if policy:
            job._apply(job._approve(policy))
        return job

    @property
    def pending(self) -> bool:
        """Whether the job still waits for its scheduler to start before a job store gets it."""
        return self._jobstore_alias is None

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """Keyword arguments of the call."""
        if self._kwargs is None:
            self._kwargs = {}
        return self._kwargs

    @kwargs.setter
    def kwargs(self, kwargs: Mapping[str, Any]) -> None:
        self._kwargs = kwargs

    @property
    def recover(self) -> bool:
        """Whether a run is repeated if the process that was running it dies."""
        return self._options is not None and self._options.get("recover", False)

    @recover.setter
    def recover(self, recover: bool) -> None:
        options = {name: set_ for name, set_ in (self._options or {}).items() if name != "recover"}
        if recover:
            options["recover"] = True
        self._options = options or None

    def modify(self, **changes: Any) -> Self:
        """Change attributes of this job, all of them or, if one is refused, none.

        :param changes: new values by attribute name; a ``next_run_time`` without a time zone is
            taken in that of the scheduler
        :return: this job. With a persistent job store it is the stored job that changes, not this
            copy of it
        :raises JobLookupError: if the job is gone
        :raises TypeError: if a value is of the wrong type, or not positive where it must be
        :raises ValueError: if the arguments do not suit the callable, or a text cannot be read
        :raises LookupError: if a textual reference leads nowhere
        :raises AttributeError: if there is no such attribute to change
        """
        self._scheduler.modify_job(self.id, self._jobstore_alias, **changes)
        return self

    def reschedule(self, trigger: BaseTrigger | str, **trigger_args: Any) -> Self:
        """Give this job another trigger, and compute its next run time from it.

        :param trigger: a trigger, or the name of a kind of trigger
        :param trigger_args: arguments of the trigger that is made if a name is given
        :return: this job
        :raises JobLookupError: if the job is gone
        :raises LookupError: if there is no kind of trigger by that name
        """
        self._scheduler.reschedule_job(self.id, self._jobstore_alias, trigger, **trigger_args)
        return self

    def pause(self) -> Self:
        """Let this job not run until it is resumed.

        :return: this job
        :raises JobLookupError: if the job is gone
        """
        self._scheduler.pause_job(self.id, self._jobstore_alias)
        return self

    def resume(self) -> Self:
        """Let this job run again from now on; it is removed if its trigger has no time left.

        :return: this job
        :raises JobLookupError: if the job is gone
        """
        self._scheduler.resume_job(self.id, self._jobstore_alias)
        return self

    def remove(self) -> None:
        """Take this job out of its scheduler.

        :raises JobLookupError: if the job is gone
        """
        self._scheduler.remove_job(self.id, self._jobstore_alias)

    def _modify(self, **changes: Any) -> None:
        """Change attributes of this object alone, all or none; no job store hears of it."""
        self._apply(self._approve(changes))

    def _approve(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return what ``changes`` come to, checked and completed, and change nothing.

        All that may fail, and all code of users, runs here: references are resolved, and
        arguments are compared with signatures.
        """
        approved: dict[str, Any] = {}
        if "id" in changes:
            approved["id"] = approve_id(changes["id"])
            if hasattr(self, "id"):
                raise ValueError("The job ID may not be changed")
        if "func" in changes or "args" in changes or "kwargs" in changes:
            self._approve_call(changes, approved)
        if "name" in changes and "name" not in approved:
            approved["name"] = approve_name(changes["name"])
        for attribute, approve in POLICIES.items():
            if attribute in changes:
                approved[attribute] = approve(changes[attribute])
        if "next_run_time" in changes:
            approved["next_run_time"] = convert_to_datetime(
                changes["next_run_time"], self._scheduler.timezone, "next_run_time"
            )

        if not MODIFIABLE.issuperset(changes):
            unknown = ", ".join(name for name in changes if name not in MODIFIABLE)
            raise AttributeError(f"The following are not modifiable attributes of Job: {unknown}")
        return approved

    def _apply(self, approved: Mapping[str, Any]) -> None:
        """Set what `_approve` returned; cannot fail."""
        for attribute, value in approved.items():
            setattr(self, attribute, value)

    def _has_policy(self) -> bool:
        """Tell whether nothing is left that `_complete` might set."""
        try:
            self.misfire_grace_time, self.coalesce, self.max_instances  # noqa: B018
        except AttributeError:
            return False
        return True

    def _complete(self, defaults: Mapping[str, Any]) -> None:
        """Set those of some approved attributes that are not set yet; cannot fail."""
        for attribute, value in defaults.items():
            if not hasattr(self, attribute):
                setattr(self, attribute, value)

    def _approve_call(self, changes: Mapping[str, Any], approved: dict[str, Any]) -> None:
        if "func" in changes:
            func, func_ref = approve_func(changes["func"])
            approved["func"], approved["func_ref"] = func, func_ref
            if changes.get("name") is None and not hasattr(self, "name"):
                approved["name"] = get_callable_name(func)
        else:
            func = self.func
        if "args" in changes:
            args = approved["args"] = approve_args(changes["args"])
        else:
            args = self.args
        if "kwargs" in changes:
            kwargs = approved["kwargs"] = approve_kwargs(changes["kwargs"])
        else:
            kwargs = self.kwargs

        check_callable_args(func, args, kwargs)

    def _get_run_times(self, now: datetime) -> list[datetime]:
        """Return the times from the next run until ``now``, none of which has had its run yet.

        If the job coalesces, all but the last count for nothing: after the first `MAX_COALESCED`
        there is only one more, the last that its trigger finds in bounded time.
        """
        times: list[datetime] = []
        for moment in self._due_times(now):
            times.append(moment)
            if len(times) == MAX_COALESCED and self.coalesce:
                last, count = asked_in(now.tzinfo, self.trigger)._last_due(moment, now)
                if count > 1:
                    times.append(last)
                break
        return times

    def _due_times(self, now: datetime) -> Iterator[datetime]:
        # In UTC, because two times of one zone are compared by their wall clocks.
        until, before = now.astimezone(UTC), None
        moment, trigger = self.next_run_time, asked_in(now.tzinfo, self.trigger)
        while moment is not None:
            instant = moment.astimezone(UTC)
            if instant > until or (before is not None and instant <= before):
                return  # not due, or a trigger that does not advance
            yield moment
            before, moment = instant, trigger.get_next_fire_time(moment, now)

    def _twin(self) -> Self:
        """Return another object that says the same."""
        twin = type(self).__new__(type(self))
        for name in Job.__slots__:
            if name != "__weakref__" and hasattr(self, name):
                setattr(twin, name, getattr(self, name))
        return twin

    def __getstate__(self) -> dict[str, Any]:
        if self.func_ref is None:
            raise ValueError(
                f"This Job cannot be serialized since the reference to its callable "
                f"({self.func!r}) could not be determined. Give the job a callable that can be "
                f"imported by its name, or a textual reference to one (module:name)."
            )
        args = self.args
        if self._is_referred_to_by_class():
            args = (self.func.__self__, *args)  # type: ignore[attr-defined]  # a bound method
        return {
            "version": STATE_VERSION,
            "id": self.id,
            "func": self.func_ref,
            "trigger": self.trigger,
            "executor": self.executor,
            "args": args,
            "kwargs": self.kwargs,
            "name": self.name,
            "misfire_grace_time": self.misfire_grace_time,
            "coalesce": self.coalesce,
            "max_instances": self.max_instances,
            "next_run_time": self.next_run_time,
        }

    def _is_referred_to_by_class(self) -> bool:
        """Whether `func` is bound to an instance that `func_ref` knows nothing of."""
        func = self.func
        if not isinstance(func, MethodType) or isinstance(func.__self__, type):
            return False
        try:
            return obj_to_ref(func) == self.func_ref
        except ValueError:  # of a local class, though the instance can be reached by its name
            return False

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        version = state.get("version", 1)
        if version > STATE_VERSION:
            raise ValueError(
                f"Job has version {version}, but only version {STATE_VERSION} can be handled"
            )
        self._options = None  # They are kept beside the state, which is that of 3.x.
        self._incarnation = ""
        self.id = state["id"]
        self.func_ref = state["func"]
        self.func = ref_to_obj(state["func"])
        self.trigger = state["trigger"]
        self.executor = state["executor"]
        self.args = state["args"]
        self._kwargs = state["kwargs"] or None
        self.name = state["name"]
        self.misfire_grace_time = state["misfire_grace_time"]
        self.coalesce = state["coalesce"]
        self.max_instances = state["max_instances"]
        self.next_run_time = state["next_run_time"]

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Job) else NotImplemented

    def __repr__(self) -> str:
        return f"<Job (id={self.id} name={self.name})>"

    def __str__(self) -> str:
        if not hasattr(self, "next_run_time"):
            status = "pending"
        elif self.next_run_time is None:
            status = "paused"
        else:
            status = f"next run at: {datetime_repr(self.next_run_time)}"
        return f"{self.name} (trigger: {self.trigger}, {status})"
