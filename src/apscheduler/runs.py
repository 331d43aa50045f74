"""The values that pass between the rooms: Run, Outcome, Plan, Transition, and a Run's life.

`TRANSITIONS` is the whole life of a Run; no other module decides which state may follow which.
Everything here is a value: made once, never changed, free of locks, clocks and I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from apscheduler._values import replace as replace
from apscheduler._values import value as value

if TYPE_CHECKING:
    from apscheduler.job import Job


class RunState(StrEnum):
    """Where in its life a Run is."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"
    SKIPPED = "skipped"
    MISSED = "missed"

    # That of `Enum` is a Python function, and each fire looks states up several times.
    __hash__ = str.__hash__

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return not TRANSITIONS[self]


class RunKind(StrEnum):
    """Why a Run exists."""

    SLOT = "slot"  # its job's trigger asked for it
    MANUAL = "manual"  # somebody asked for it, outside the schedule
    RETRY = "retry"  # an attempt before it failed
    RECOVERY = "recovery"  # an attempt before it never began, or was lost
    GAP = "gap"  # stands for slots that were never opened


_S = RunState
TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    _S.WAITING: frozenset({_S.RUNNING, _S.CANCELLED, _S.MISSED, _S.SKIPPED}),
    _S.RUNNING: frozenset(
        {
            _S.SUCCEEDED,
            _S.FAILED,
            _S.TIMED_OUT,
            _S.CANCELLED,
            _S.LOST,
            # The last two by an executor's refusal, or by the report of a foreign executor.
            _S.SKIPPED,
            _S.MISSED,
        }
    ),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset(),
    _S.TIMED_OUT: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.LOST: frozenset(),
    _S.SKIPPED: frozenset(),
    _S.MISSED: frozenset(),
}

#: What nearly every Run goes through. CPython 3.11 takes as long to look up a member of an enum as
#: to call a function, and each fire would look up half a dozen.
SLOT_RUN, WAITING, RUNNING, SUCCEEDED = RunKind.SLOT, _S.WAITING, _S.RUNNING, _S.SUCCEEDED

#: The states of a Run that holds one of its job's instances.
LIVE_STATES = frozenset(state for state, following in TRANSITIONS.items() if following)


class TransitionError(ValueError):
    """A Run was asked to go where its state does not lead."""

    def __init__(self, run: Run, after: RunState) -> None:
        allowed = ", ".join(state for state in RunState if state in TRANSITIONS[run.state])
        super().__init__(
            f"run {run.id} of job {run.job_id} is {run.state} and cannot become {after}; "
            f"from {run.state} it can become: {allowed or 'nothing, it has ended'}"
        )


@value
class Run:
    """One attempt to execute a slot, or the record of slots that were never opened.

    All times are aware. ``scheduled_at`` is in the time zone of the job's trigger.

    ``first_scheduled_at`` and ``count`` differ from ``scheduled_at`` and 1 where one Run stands
    for several slots (coalesced, or a gap). Where the slots could not be counted by arithmetic,
    1,000 means "at least 1,000".
    """

    id: str
    job_id: str
    state: RunState
    kind: RunKind
    scheduled_at: datetime
    first_scheduled_at: datetime
    opened_at: datetime
    batch: str
    job_name: str
    jobstore: str
    executor: str
    node: str
    incarnation: str
    count: int = 1
    attempt: int = 1
    attention_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    error: str | None = None
    #: The job as it was, kept only where the claim deleted it: what a recovery needs.
    definition: Any = None
    __beside__ = ("definition",)

    @property
    def ended(self) -> bool:
        """Whether this Run is over."""
        return self.state.ended

    @property
    def coalesced(self) -> int:
        """How many earlier slots this Run stands for beside its own."""
        return self.count - 1


@value
class Outcome:
    """What became of one call of a user's function.

    ``traceback`` is the text of the stack frames, without the line of the exception itself.
    ``refused`` is set where the executor did not take the Run at all.
    """

    state: RunState
    started_at: datetime | None = None
    ended_at: datetime | None = None
    value: Any = None
    exception: BaseException | None = None
    traceback: str | None = None
    reason: str | None = None
    refused: bool = False


@value
class Live:
    """What of one job is alive over all nodes.

    :param instances: distinct batches among its waiting and running Runs
    :param opened_until: the moment at which the newest of them was opened
    """

    instances: int = 0
    opened_until: datetime | None = None


NOTHING_LIVE = Live()


@value
class Due:
    """A job whose time has come, as its store read it.

    :param slot: its next run time
    :param incarnation: one life of the job's id. It begins when the job is added, when it is
        replaced without keeping its phase, and when a user sets its next run time
    :param born: when that was, in UTC; None for a job that was stored by 3.x
    :param last_slot: the last slot that was decided in this incarnation, in UTC
    """

    job: Job
    slot: datetime
    incarnation: str
    born: datetime | None
    last_slot: datetime | None
    live: Live


@value
class Presence:
    """Since when slots could have been started without a break, and what the last break was."""

    since: datetime
    cause: str


@value
class Plan:
    """The decision about one due job, to be written in one conditional write.

    :param next_run_time: what the job's row moves on to; None where its trigger is exhausted,
        which deletes the row
    :param last_slot: the last slot that this decision settles, in UTC
    :param opened: Runs that begin: the first of them running, the rest of its batch waiting
    :param closed: records of slots that are not opened
    """

    next_run_time: datetime | None
    last_slot: datetime
    opened: tuple[Run, ...] = ()
    closed: tuple[Run, ...] = ()


@value
class Transition:
    """The decision about one existing Run, to be written only if it is still in ``run.state``.

    ``follow_up`` is a Run that is opened in the same write.
    """

    run: Run
    after: RunState
    ended_at: datetime | None = None
    started_at: datetime | None = None
    reason: str | None = None
    error: str | None = None
    follow_up: Run | None = None

    def __post_init__(self) -> None:
        if self.after not in TRANSITIONS[self.run.state]:
            raise TransitionError(self.run, self.after)


@value
class RunQuery:
    """Which Runs are asked for; the newest come first.

    ``since`` leaves out Runs that were scheduled before that moment, ``until`` those that were
    scheduled after it. ``after`` asks for what comes after a Run, in the order of the answer.
    """

    job_id: str | None = None
    state: RunState | None = None
    since: datetime | None = None
    limit: int = 100
    until: datetime | None = None
    node: str | None = None
    after: Run | None = None

    def wants(self, run: Run) -> bool:
        """Tell whether a Run is one of those that are asked for."""
        return (
            (self.job_id is None or run.job_id == self.job_id)
            and (self.state is None or run.state is self.state)
            and (self.since is None or run.scheduled_at >= self.since)
            and (self.until is None or run.scheduled_at <= self.until)
            and (self.node is None or run.node == self.node)
            and (
                self.after is None
                or (run.opened_at, run.id) < (self.after.opened_at, self.after.id)
            )
        )


@value
class JobQuery:
    """Which jobs are asked for; the earliest next run time comes first, paused jobs last.

    :param before: only jobs that run before this moment
    :param paused: only jobs that are paused, or only those that are not
    :param limit: how many at most; None for all
    :param after: what comes after a job, in the order of the answer: its next run time and id
    """

    ids: frozenset[str] | None = None
    executor: str | None = None
    before: datetime | None = None
    paused: bool | None = None
    limit: int | None = None
    after: tuple[datetime | None, str] | None = None

    def wants(self, job: Job) -> bool:
        """Tell whether a job is one of those that are asked for."""
        moment = job.next_run_time
        return (
            (self.ids is None or job.id in self.ids)
            and (self.executor is None or job.executor == self.executor)
            and (
                self.before is None
                or (moment is not None and moment.timestamp() < self.before.timestamp())
            )
            and (self.paused is None or (moment is None) is self.paused)
            and (self.after is None or _place(moment, job.id) > _place(*self.after))
        )


def _place(moment: datetime | None, job_id: str) -> tuple[float, str]:
    return float("inf") if moment is None else moment.timestamp(), job_id


@value
class Retention:
    """How long ended Runs are kept: at most so many of each job, and for so long.

    The last success and the last failure of a job are kept whatever happens; None sets no limit.
    """

    runs_per_job: int | None = 100
    age: timedelta | None = timedelta(days=30)


class JobChangeKind(StrEnum):
    """What a user, or the end of its schedule, did to a job."""

    ADDED = "added"
    MODIFIED = "modified"
    PAUSED = "paused"
    RESUMED = "resumed"
    REMOVED = "removed"
    EXHAUSTED = "exhausted"


@value
class JobChange:
    """A change of a job that explains why slots have no Run.

    ``next_run_time`` is what the change left behind.
    """

    job_id: str
    at: datetime
    kind: JobChangeKind
    next_run_time: datetime | None = None


NewId = Callable[[], str]


def moved(run: Run, transition: Transition) -> Run:
    """Return a Run as it is after a transition."""
    # Spelled out, as in `started`: `replace` takes several times as long.
    return Run(
        run.id,
        run.job_id,
        transition.after,
        run.kind,
        run.scheduled_at,
        run.first_scheduled_at,
        run.opened_at,
        run.batch,
        run.job_name,
        run.jobstore,
        run.executor,
        run.node,
        run.incarnation,
        run.count,
        run.attempt,
        None,
        transition.started_at or run.started_at,
        transition.ended_at,
        transition.reason,
        transition.error,
        # What was lost can be run again by hand, even where its job is gone.
        None if transition.ended_at and transition.after is not _S.LOST else run.definition,
    )


def started(run: Run, at: datetime) -> Run:
    """Return a running Run with the moment at which its worker began."""
    return Run(
        run.id,
        run.job_id,
        run.state,
        run.kind,
        run.scheduled_at,
        run.first_scheduled_at,
        run.opened_at,
        run.batch,
        run.job_name,
        run.jobstore,
        run.executor,
        run.node,
        run.incarnation,
        run.count,
        run.attempt,
        None,
        at,
        None,
        run.reason,
        None,
        run.definition,
    )


def transition_table() -> str:
    """Return the life of a Run as text, a line for each state that something follows."""
    width = max(len(state) for state in LIVE_STATES)
    return "\n".join(
        f"{state:<{width}} -> {' | '.join(after for after in RunState if after in following)}"
        for state, following in TRANSITIONS.items()
        if following
    )
