"""What `scheduler.health()` answers with: values that say how the scheduler really is."""

from __future__ import annotations

from datetime import datetime, timedelta

from apscheduler._values import value
from apscheduler.jobstores.base import QuarantinedJob


@value
class StoreHealth:
    """How a job store last answered.

    ``error`` is the text of the failure, None while all is well; ``failing_since`` is its time.
    """

    error: str | None = None
    failing_since: datetime | None = None
    failures: int = 0


@value
class ExecutorHealth:
    """What an executor is doing; None where it cannot tell.

    ``stuck`` holds the ids of Runs that have been at it for longer than was asked about.
    """

    workers: int | None
    busy: int | None
    queued: int | None
    stuck: tuple[str, ...] = ()


@value
class OverdueJob:
    """A job whose time has passed without an answer, and why."""

    job_id: str
    jobstore: str
    next_run_time: datetime
    reason: str


@value
class Health:
    """The state of a scheduler at one moment.

    :param running: whether it is started and its loop is alive
    :param last_turn: when it last looked for due jobs, in UTC
    :param loop_lag: by how much it is behind the moment at which it meant to look next
    :param quarantined: jobs that cannot be read here, as far as that has been noticed
    """

    running: bool
    paused: bool
    last_turn: datetime | None
    loop_lag: timedelta
    stores: dict[str, StoreHealth]
    executors: dict[str, ExecutorHealth]
    overdue: tuple[OverdueJob, ...]
    quarantined: tuple[QuarantinedJob, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing needs attention."""
        return (
            self.running
            and not self.overdue
            and not self.quarantined
            and all(store.error is None for store in self.stores.values())
            and not any(executor.stuck for executor in self.executors.values())
        )
