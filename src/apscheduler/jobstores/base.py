"""What a job store is: the contract of 3.x, and the seam of a store that can claim slots."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar

from apscheduler.runs import (
    Due,
    JobChange,
    JobQuery,
    Live,
    Plan,
    Retention,
    Run,
    RunQuery,
    Transition,
    value,
)

if TYPE_CHECKING:
    from apscheduler.job import Job
    from apscheduler.nodes import Beat, Node


class JobLookupError(KeyError):
    """Raised when there is no job by the given id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"No job by the id of {job_id} was found")


class ConflictingIdError(KeyError):
    """Raised when a job is added under an id that is taken."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Job identifier ({job_id}) conflicts with an existing job")


class TransientJobError(ValueError):
    """Raised when a job that cannot be referenced by name is added to a persistent store."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"Job ({job_id}) cannot be added to this job store because a reference to the "
            f"callable could not be determined."
        )


class LeaseLostError(RuntimeError):
    """Raised when a node claims that the others take for dead; it may join anew, and go on."""

    def __init__(self, node_id: str) -> None:
        super().__init__(
            f"the lease of node {node_id} has lapsed: what it was running counts as lost"
        )


class UnreadableJobError(ValueError):
    """Raised when a job is to be changed that its store cannot read."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(
            f"Job {job_id} cannot be read: {reason}. It is kept as it is until it can be read "
            f"again, replaced or removed"
        )


class BaseJobStore(ABC):
    """The eight methods, and two more, that every job store of 3.x has."""

    _scheduler: Any = None
    _alias: str | None = None
    _logger: logging.Logger = logging.getLogger("apscheduler.jobstores")

    def start(self, scheduler: Any, alias: str) -> None:
        """Called when the scheduler starts, or when the store is added to a running one.

        :param scheduler: the scheduler that uses this store
        :param alias: the name of this store in that scheduler
        """
        self._scheduler = scheduler
        self._alias = alias
        self._logger = logging.getLogger(f"apscheduler.jobstores.{alias}")

    def shutdown(self) -> None:  # noqa: B027
        """Free what the store holds on to."""

    def after_fork(self) -> Iterable[Job]:
        """Let go, in a child process that was just forked off, of what belongs to the parent.

        That is every lock and connection, the latter without closing it. An extension must not
        wait, take a lock or log. `start` may follow.

        :return: the jobs that are kept in this process only. The store has forgotten them; they
            are added to it anew when the scheduler is started in the child
        """
        return ()

    @abstractmethod
    def lookup_job(self, job_id: str) -> Job | None:
        """Return the job by this id, or None."""

    @abstractmethod
    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return the jobs whose next run time is not later than ``now``, earliest first."""

    @abstractmethod
    def get_next_run_time(self) -> datetime | None:
        """Return the earliest next run time of all jobs that are not paused, if any."""

    @abstractmethod
    def get_all_jobs(self) -> list[Job]:
        """Return all jobs, earliest next run time first, paused jobs last."""

    @abstractmethod
    def add_job(self, job: Job) -> None:
        """Store a new job.

        :raises ConflictingIdError: if there is a job by its id already
        """

    @abstractmethod
    def update_job(self, job: Job) -> None:
        """Store a job in place of the one by its id.

        :raises JobLookupError: if there is none
        """

    @abstractmethod
    def remove_job(self, job_id: str) -> None:
        """Delete a job.

        :raises JobLookupError: if there is no job by this id
        """

    @abstractmethod
    def remove_all_jobs(self) -> None:
        """Delete all jobs."""

    def _fix_paused_jobs_sorting(self, jobs: list[Job]) -> None:
        """Move paused jobs from the front of a sorted list to its end, in place."""
        for position, job in enumerate(jobs):
            if job.next_run_time is not None:
                if position:
                    jobs[:] = jobs[position:] + jobs[:position]
                return

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


@value
class Claims:
    """What became of the decisions about due jobs; those whose ground had moved are not listed.

    ``failed`` holds decisions that one job's write kept from being carried out. If the store as
    a whole fails, `ClaimingJobStore.claim` raises instead.
    """

    won: list[tuple[Due, Plan]]
    failed: list[tuple[Due, Exception]]


@value
class QuarantinedJob:
    """A job that its store cannot read. Its row is kept, and tried again when it has changed.

    :param since: when that was noticed, in UTC; None if it has not been due since
    """

    job_id: str
    jobstore: str
    reason: str
    since: datetime | None = None


class ClaimingJobStore(BaseJobStore):
    """A job store from which slots are claimed by a conditional write, before anything runs.

    Such a store also keeps the Runs. It never reads a clock and never decides: decisions come
    in as pure functions, and what they answer is written only if its ground has not moved. A
    write that is refused for that reason is an ordinary answer, not an error.
    """

    #: Whether its methods do I/O, and may keep an event loop waiting.
    blocking: ClassVar[bool] = False
    #: How many decisions are asked of it at a time. Few, so that the first run of many starts at
    #: once, and what is made for a decision is gone before the garbage collector sees it.
    claim_limit: ClassVar[int] = 100

    @abstractmethod
    def add_job(self, job: Job, born: datetime | None = None) -> None:
        """Store a new job, which begins an incarnation at ``born`` (in UTC)."""

    @abstractmethod
    def update_job(self, job: Job, born: datetime | None = None) -> None:
        """Store a job in place of the one by its id; with ``born``, as a new incarnation."""

    def add_jobs(self, jobs: Sequence[Job], born: datetime | None = None) -> None:
        """Store new jobs, all or none.

        :raises ConflictingIdError: if there is a job by the id of one of them already
        """
        added: list[Job] = []
        try:
            for job in jobs:
                self.add_job(job, born)
                added.append(job)
        except BaseException:
            for job in added:
                self.remove_job(job.id)
            raise

    @abstractmethod
    def replace_job(self, job: Job, keeps_phase: Callable[[Job], bool], born: datetime) -> bool:
        """Store a job in place of the one by its id; return whether that one's phase was kept.

        :param keeps_phase: asked with the job that is to be replaced. If it answers yes, it has
            given ``job`` the next run time of that one, and ``job`` goes on in its incarnation;
            else a new one begins. May be asked more than once, each time about what is stored by
            then; its last answer counts
        :param born: when a new incarnation begins
        :raises JobLookupError: if there is no job by its id
        """

    def find_jobs(self, query: JobQuery) -> list[Job]:
        """Return the jobs that are asked for, earliest next run time first, paused jobs last."""
        return [job for job in self.get_all_jobs() if query.wants(job)][: query.limit]

    @abstractmethod
    def modify_job(
        self, job_id: str, change: Callable[[Job], None], born: datetime | None = None
    ) -> Job:
        """Apply a change to the job as it is now, and return the job.

        :param change: sets attributes and cannot fail; may be called more than once
        :param born: given if the change begins a new incarnation
        :raises JobLookupError: if there is no job by this id
        """

    @abstractmethod
    def claim(
        self,
        now: datetime,
        decide: Callable[[Due], Plan | None],
        limit: int,
        without: Collection[str],
    ) -> Claims:
        """Decide about due jobs, earliest first, and write the decisions.

        :param decide: asked once for each reading of a due job, with nothing locked that blocks
            others; None leaves the job as it is
        :param limit: how many decisions to write at most
        :param without: ids of jobs that are not asked about
        """

    @abstractmethod
    def claim_waiting(
        self, now: datetime, decide: Callable[[Run, Job | None], Transition], limit: int
    ) -> list[tuple[Run, Job]]:
        """Decide about waiting Runs that need attention, and return those that were started.

        :param decide: asked with each Run and its job, None if that was removed
        """

    @abstractmethod
    def open_run(self, job_id: str, decide: Callable[[Job, str, Live], Run]) -> tuple[Run, Job]:
        """Open a Run of a job outside its schedule.

        :param decide: makes the Run from the job, its incarnation and what of it is live
        :raises JobLookupError: if there is no job by this id
        """

    @abstractmethod
    def apply(self, transitions: Sequence[Transition]) -> list[bool]:
        """Write transitions of Runs; return for each whether it was carried out.

        A transition is refused if its Run is no longer in the state it was decided for: a
        result that comes too late changes nothing.
        """

    @abstractmethod
    def next_wake(self, without: Collection[str]) -> datetime | None:
        """Return when the next job is due or the next waiting Run needs attention.

        :param without: ids of jobs that do not count
        """

    @abstractmethod
    def get_runs(self, query: RunQuery) -> list[Run]:
        """Return Runs, the newest first."""

    @abstractmethod
    def note(self, change: JobChange) -> None:
        """Keep a change of a job for later explanation."""

    @abstractmethod
    def get_changes(self, job_id: str) -> list[JobChange]:
        """Return the changes of a job that are kept, oldest first."""


class SharedJobStore(ClaimingJobStore):
    """A job store that several schedulers share, in as many processes: the *nodes*.

    Each slot is claimed by one of them. A node that is alive says so with `beat` before its lease
    ends; what a dead one was running, another one declares lost. Leases are durations in the time
    of the store.
    """

    blocking = True
    claim_limit = 500
    #: Seconds after which a node looks for what others have changed, at the latest.
    poll_interval: float = 1.0
    #: Seconds for which a node counts as alive after it last said so.
    lease: float = 30.0
    #: How long ended Runs are kept.
    retention: Retention = Retention()
    #: Whether a row that is being decided about is locked: then `claim` refuses nothing, and a
    #: decision must not use the store itself.
    decides_under_lock: bool = False
    #: Until when no waiting Run needs attention, as the last `next_wake` found it; None if that is
    #: not known. Those that others open later are found by the next one.
    calm_until: datetime | None = None

    @property
    def can_be_shared(self) -> bool:
        """Whether it is shared indeed; known once it is started.

        If not, it is a store of 3.x to us: it keeps no Runs, and only one scheduler may use it.
        """
        return True

    @abstractmethod
    def claim(
        self,
        now: datetime,
        decide: Callable[[Due], Plan | None],
        limit: int,
        without: Collection[str],
        executors: Collection[str] | None = None,
    ) -> Claims:
        """Decide about due jobs, earliest first, and write the decisions.

        A slot that turns out to be decided already is left out of the answer; its job moves on.

        :param executors: asks only about jobs of these executors; None for all
        :raises LeaseLostError: if this node has joined, and its lease has lapsed since
        """

    @abstractmethod
    def claim_waiting(
        self,
        now: datetime,
        decide: Callable[[Run, Job | None], Transition],
        limit: int,
        executors: Collection[str] | None = None,
        node: str | None = None,
    ) -> list[tuple[Run, Job]]:
        """Decide about waiting Runs that need attention, and return those that were started.

        :param executors: asks only about Runs of these executors; None for all
        :param node: becomes the node of those that are started; None leaves it as it is
        """

    @abstractmethod
    def claim_lapsed(
        self,
        decide: Callable[[Run], Transition],
        dead: Collection[str] = (),
        only_named: bool = False,
    ) -> list[tuple[Run, Transition]]:
        """End what nodes were running that are dead, and forget these nodes.

        Those are nodes whose lease has ended, nodes named in ``dead``, and nodes that are not
        known at all. Of several that call this at once, one ends each Run.

        :param decide: asked with each live Run of such a node, but for those that wait until a
            moment: any node may start them
        :param dead: ids of nodes that are known to be dead although their lease has not ended
        :param only_named: leaves all others alone
        :return: the Runs as they were, with what was carried out
        """

    @abstractmethod
    def next_wake(
        self, without: Collection[str], executors: Collection[str] | None = None
    ) -> datetime | None:
        """Return when the next job is due or the next waiting Run needs attention.

        :param without: ids of jobs that do not count
        :param executors: only these executors count; None for all
        """

    @abstractmethod
    def beat(self, node: Node) -> Beat:
        """Join as a node, or say that it is still alive: for another `lease` from now on."""

    @abstractmethod
    def leave(self, node_id: str) -> None:
        """Forget a node; what of it is still live lapses."""

    @abstractmethod
    def get_nodes(self) -> list[Node]:
        """Return the nodes that are known, the oldest first."""

    @abstractmethod
    def prune(self, now: datetime) -> int:
        """Delete a small batch of Runs that need not be kept any more; return how many.

        Of each job the last success and the last failure are kept whatever `retention` says.
        """

    def watch(self, timeout: float) -> bool:
        """Wait for an edit by another node; return whether there was one, or it may have been.

        It may only shorten a sleep: nobody relies on it. One thread at a time calls this.

        :param timeout: for how many seconds at most
        """
        raise NotImplementedError

    #: Whether `watch` can be called at all.
    can_watch: bool = False

    def unwatch(self) -> None:
        """End a `watch`, and let go of what it holds; may be called from any thread."""

    @abstractmethod
    def get_quarantined_jobs(self) -> list[QuarantinedJob]:
        """Return the jobs that this node cannot read, after another look at them."""


#: What a store of 3.x is asked for; whoever overrides one of these expects to be asked.
_CONTRACT_3X = (
    "lookup_job",
    "get_due_jobs",
    "get_next_run_time",
    "get_all_jobs",
    "add_job",
    "update_job",
    "remove_job",
    "remove_all_jobs",
    "_get_jobs",
)


def claims_for_itself(store: BaseJobStore) -> bool:
    """Tell whether slots can be claimed from a store, rather than be managed around it.

    A subclass of one of our stores that overrides a method of the 3.x contract relies on that
    method being called, and `ClaimingJobStore.claim` calls none of them.
    """
    if not isinstance(store, ClaimingJobStore):
        return False
    if isinstance(store, SharedJobStore) and not store.can_be_shared:
        return False
    return not overridden_methods(store)


def _is_set(store: ClaimingJobStore, name: str) -> bool:
    """Tell whether a method is that of this object alone.

    Its ``__dict__`` would say so, too; but CPython 3.11 looks up each attribute more slowly in an
    object whose ``__dict__`` somebody has asked for.
    """
    method, of_class = getattr(store, name, None), getattr(type(store), name, None)
    if not callable(of_class):
        return callable(method)
    return method is not of_class and method != MethodType(of_class, store)


def overridden_methods(store: ClaimingJobStore) -> list[str]:
    """Return which methods of the 3.x contract are not those of the class that claims slots."""
    classes = type(store).__mro__
    claimer = next(cls for cls in classes if "claim" in vars(cls))
    below = classes[: classes.index(claimer)]
    return [
        name
        for name in _CONTRACT_3X
        if _is_set(store, name) or any(name in vars(cls) for cls in below)
    ]
