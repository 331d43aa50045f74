"""A host whose time is in the hands of the test, and things around it that fail when told to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from apscheduler import current_run
from apscheduler.executors.base import BaseExecutor
from apscheduler.executors.debug import DebugExecutor
from apscheduler.health import Health
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.runs import Run
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.testing import VirtualClock
from apscheduler.triggers.base import BaseTrigger

START = datetime(2030, 1, 1, tzinfo=UTC)
#: More turns than this at one and the same moment are spinning.
MOST_TURNS = 50
#: Errors that a program does not plan for, and one that it does.
ERRORS = (RuntimeError, MemoryError, RecursionError, OSError)

#: What the eight methods of 3.x are called.
CONTRACT = (
    "lookup_job",
    "get_due_jobs",
    "get_next_run_time",
    "get_all_jobs",
    "add_job",
    "update_job",
    "remove_job",
    "remove_all_jobs",
)
#: What the loop calls a store that claims for itself by.
SEAM = ("claim", "claim_waiting", "apply", "next_wake", "open_run", "get_runs")

RAN: list[tuple[str, datetime]] = []


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def ran() -> None:
    """What jobs do here: note which slot of which job runs."""
    run = current_run()
    RAN.append((run.job_id, run.scheduled_at))


def slots_of(job_id: str) -> list[float]:
    """Return for which seconds since the start a job has run, in order."""
    return [(slot - START).total_seconds() for name, slot in RAN if name == job_id]


class HandScheduler(BaseScheduler):
    """The smallest host: its owner lets it turn, and its time pass."""

    def __init__(self, **options: Any) -> None:
        self.wakeups = 0
        self.turns = 0
        self.watch: Callable[[], object] = lambda: None
        self._woken = False
        super().__init__(**{"timezone": "UTC", "clock": VirtualClock(START), **options})

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> None:
        super().shutdown(wait, timeout)

    def wakeup(self) -> None:
        self.wakeups += 1
        self._woken = True

    def rest(self) -> float | None:
        """Turn until there is nothing to do at this moment; return what the last turn answered."""
        for _ in range(MOST_TURNS):
            self._woken = False
            self.turns += 1
            seconds = self._process_jobs()
            self.watch()
            if not self._woken and (seconds is None or seconds > 0):
                return seconds
        raise AssertionError(f"the loop spins at {self.clock.now()}")

    def run_until(self, seconds: float) -> None:
        """Let time pass until so many seconds after the start, turning when it has been asked."""
        wait = self.rest()
        while self.clock.now() < at(seconds):
            left = (at(seconds) - self.clock.now()).total_seconds()
            self.clock.advance(seconds=left if wait is None else min(left, wait))
            wait = self.rest()

    @property
    def clock(self) -> VirtualClock:
        assert isinstance(self._clock, VirtualClock)
        return self._clock

    def _create_default_executor(self) -> BaseExecutor:
        return DebugExecutor()


class Faults:
    """Counts calls, and lets some of them fail."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.fired: list[str] = []
        #: Set while it is the test itself that calls: that does not count.
        self.asleep = False
        self._plan: dict[str, tuple[int, int, BaseException, bool]] = {}

    def fail(
        self,
        name: str,
        error: BaseException | type[BaseException] = RuntimeError,
        *,
        nth: int = 1,
        times: int = 1,
        after: bool = False,
    ) -> None:
        """Let calls fail, counted from now on.

        :param nth: the first that fails
        :param times: how many do, one after the other
        :param after: whether they do their work first
        """
        failure = error("out of order") if isinstance(error, type) else error
        first = self.calls[name] + nth
        self._plan[name] = first, first + times, failure, after

    def mend(self) -> None:
        self._plan.clear()

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        if self.asleep:
            return call()
        self.calls[name] += 1
        first, end, failure, after = self._plan.get(name, (0, 0, None, False))
        fails = first <= self.calls[name] < end
        if fails and not after:
            self._fire(name, failure)
        answer = call()
        if fails:
            self._fire(name, failure)
        return answer

    def _fire(self, name: str, failure: BaseException | None) -> None:
        self.fired.append(name)
        assert failure is not None
        raise failure


def faulty(base: type[Any], names: Iterable[str]) -> type[Any]:
    """Return a subclass of which these methods can be made to fail, through its ``faults``."""

    def wrap(name: str) -> Callable[..., Any]:
        method = getattr(base, name)

        @wraps(method)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            return self.faults.around(name, lambda: method(self, *args, **kwargs))

        return call

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        self.faults = Faults()
        base.__init__(self, *args, **kwargs)

    methods = {name: wrap(name) for name in names}
    return type(f"Faulty{base.__name__}", (base,), {"__init__": init, **methods})


class RowStore(BaseJobStore):
    """A store of 3.x: the eight methods, and rows that are no objects of anybody else."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def lookup_job(self, job_id: str) -> Job | None:
        return self._job(self.rows[job_id]) if job_id in self.rows else None

    def get_due_jobs(self, now: datetime) -> list[Job]:
        return [
            self._job(row)
            for row in self._sorted()
            if row["next_run_time"] is not None and row["next_run_time"] <= now
        ]

    def get_next_run_time(self) -> datetime | None:
        times = [row["next_run_time"] for row in self.rows.values()]
        return min((moment for moment in times if moment is not None), default=None)

    def get_all_jobs(self) -> list[Job]:
        return [self._job(row) for row in self._sorted()]

    def add_job(self, job: Job) -> None:
        if job.id in self.rows:
            raise ConflictingIdError(job.id)
        self.rows[job.id] = job.__getstate__()

    def update_job(self, job: Job) -> None:
        if job.id not in self.rows:
            raise JobLookupError(job.id)
        self.rows[job.id] = job.__getstate__()

    def remove_job(self, job_id: str) -> None:
        if self.rows.pop(job_id, None) is None:
            raise JobLookupError(job_id)

    def remove_all_jobs(self) -> None:
        self.rows.clear()

    def _sorted(self) -> list[dict[str, Any]]:
        far = datetime.max.replace(tzinfo=UTC)
        return sorted(self.rows.values(), key=lambda row: (row["next_run_time"] or far, row["id"]))

    def _job(self, row: dict[str, Any]) -> Job:
        job = Job.__new__(Job)
        job.__setstate__(row)
        job._scheduler = self._scheduler
        job._jobstore_alias = self._alias
        return job


#: A store of ours; one of 3.x that keeps rows; one of 3.x that keeps the jobs themselves.
STORES: dict[str, Callable[[], Any]] = {
    "claiming": faulty(MemoryJobStore, SEAM),
    "rows": faulty(RowStore, CONTRACT),
    "objects": faulty(MemoryJobStore, CONTRACT),
}


class FaultyTrigger(BaseTrigger):
    """Fires every so many seconds from the start on; some of its answers can be made to fail.

    :param limit: how many times at most
    """

    def __init__(self, step: float, limit: int | None = None) -> None:
        self.step = step
        self.limit = limit
        self.faults = Faults()
        #: What is answered instead of a time, while it is set.
        self.nonsense: Any = None

    def get_next_fire_time(self, previous_fire_time: Any, now: datetime) -> datetime | None:
        return self.faults.around("next", lambda: self._next(previous_fire_time))

    def _last_due(self, first: datetime, until: datetime) -> tuple[datetime, int]:
        last_due = super()._last_due
        return self.faults.around("last_due", lambda: last_due(first, until))

    def _next(self, previous: datetime | None) -> Any:
        if self.nonsense is not None:
            return self.nonsense
        passed = 0.0 if previous is None else (previous - START).total_seconds()
        following = (round(passed / self.step) + 1) * self.step
        return None if self.limit and following > self.limit * self.step else at(following)

    def __str__(self) -> str:
        return f"every {self.step} s"


class Heard:
    """The events that a listener was given, in order."""

    def __init__(self, scheduler: BaseScheduler, mask: int | None = None) -> None:
        self.events: list[Any] = []
        if mask is None:
            scheduler.add_listener(self.events.append)
        else:
            scheduler.add_listener(self.events.append, mask)

    @property
    def codes(self) -> list[int]:
        return [event.code for event in self.events]

    def of(self, code: int) -> list[Any]:
        return [event for event in self.events if event.code & code]


class HeldExecutor(BaseExecutor):
    """An executor of 3.x, which runs nothing by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[Job, list[datetime]]] = []

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self.held.append((job, run_times))


def late(run: Run) -> float:
    """Return by how many seconds a Run was late; jobs here take no time."""
    assert run.ended_at is not None
    return (run.ended_at - run.scheduled_at).total_seconds()


def assert_every_slot_ran_once(
    scheduler: BaseScheduler, job_id: str, slots: Iterable[float], *, most_late: float
) -> None:
    """Each slot has run, in a Run of its own, and on record is what was seen to run."""
    wanted = [at(seconds) for seconds in slots]
    assert [slot for name, slot in sorted(RAN, key=lambda ran: ran[1]) if name == job_id] == wanted
    runs = [run for run in scheduler.get_runs(job_id, limit=10_000) if run.state == "succeeded"]
    assert sorted(run.scheduled_at for run in runs) == wanted
    assert [run.count for run in runs] == [1] * len(runs)
    assert max(map(late, runs)) <= most_late


def assert_at_rest(scheduler: BaseScheduler) -> None:
    """Nothing is left open, and the scheduler says that it is well."""
    assert scheduler.get_runs(state="running", limit=10_000) == []
    assert scheduler.get_runs(state="waiting", limit=10_000) == []
    health = scheduler.health()
    assert health.ok, health


class HealthLog:
    """What `health` said after each turn of a scheduler, and what had failed in that turn."""

    def __init__(self, scheduler: HandScheduler, faults: Faults) -> None:
        self.said: list[tuple[float, Health, list[str]]] = []
        self._scheduler = scheduler
        self._faults = faults
        self._seen = len(faults.fired)
        scheduler.watch = self._look

    def _look(self) -> None:
        failed = self._faults.fired[self._seen :]
        self._seen += len(failed)
        self._faults.asleep = True
        now = self._scheduler.clock.now()
        self.said.append(((now - START).total_seconds(), self._scheduler.health(), failed))
        self._faults.asleep = False

    def when_failed(self) -> list[Health]:
        """Return what was said right after each turn in which something failed."""
        return [health for _, health, failed in self.said if failed]
