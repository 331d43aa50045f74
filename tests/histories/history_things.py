"""What a history is made of: executors that hold what they take, and stores that fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MISSED,
    JobExecutionEvent,
)
from apscheduler.executors.base import BaseExecutor, RunExecutor, Work
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.runs import Outcome, RunState
from apscheduler.triggers.base import BaseTrigger

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVERYTHING = 1_000_000


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def nothing() -> None:
    """What the jobs call, if anything did: their executors only pretend."""


class Every(BaseTrigger):
    """Fires every so many seconds since the start, and can calculate nothing."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        step = timedelta(seconds=self.seconds)
        if previous_fire_time is not None:
            return START + ((previous_fire_time - START) // step + 1) * step
        return START - (START - now) // step * step

    def __str__(self) -> str:
        return f"every {self.seconds} s"


# -- executors ----------------------------------------------------------------------------------


class Desk:
    """All that executors have taken and not yet ended, as they see it."""

    def __init__(self) -> None:
        self.open: list[Task] = []
        self.refusals = 0
        self.too_many: list[str] = []
        #: Set when everything is to end at once.
        self.let_go = False

    def take(self, task: Task) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError("no room")
        live = 1 + sum(other.job.id == task.job.id for other in self.open)
        if live > task.allowed:
            # Raised here, it would pass for a refusal.
            self.too_many.append(f"{live} instances of job {task.job.id} at once")
        self.open.append(task)
        while self.let_go and task in self.open:
            self.step(task, "succeed")

    def step(self, task: Task, how: str) -> None:
        if task.step(how):
            self.open.remove(task)


class Task:
    """A submission to an executor which takes Runs; they end one by one."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.job = work.job
        self.allowed = work.job.max_instances
        if work.runs[0].attempt > 1:
            self.allowed = EVERYTHING  # It has held its place since its first attempt.
        self.left = list(work.runs)

    def step(self, how: str) -> bool:
        """Let the first Run that is left come to its end; return whether that was all."""
        begun = self.work.begin(self.left.pop(0))
        if begun is not None:
            now = self.work.clock.now()
            outcome = Outcome(RunState.SUCCEEDED, begun.started_at, now)
            if how != "succeed":
                error = RuntimeError(how)
                outcome = Outcome(RunState.FAILED, begun.started_at, now, exception=error)
            self.work.finish(begun, outcome)
        return not self.left


class ForeignTask(Task):
    """A submission to an executor of 3.x, which reports when all is over."""

    def __init__(self, executor: BaseExecutor, job: Job, run_times: list[datetime]) -> None:
        self.executor, self.job, self.run_times = executor, job, run_times
        self.allowed = job.max_instances

    def is_like(self, other: Task) -> bool:
        return isinstance(other, ForeignTask) and other.job.id == self.job.id

    def step(self, how: str) -> bool:
        if how == "die":
            self.executor._run_job_error(self.job.id, RuntimeError("worker died"))
            return True
        code = {"fail": EVENT_JOB_ERROR, "miss": EVENT_JOB_MISSED}.get(how, EVENT_JOB_EXECUTED)
        error = RuntimeError(how) if how == "fail" else None
        events = [
            JobExecutionEvent(code, self.job.id, "default", run_time, exception=error)
            for run_time in self.run_times
        ]
        self.executor._run_job_success(self.job.id, events)
        return True


class HeldExecutor(RunExecutor):
    """Takes Runs, and ends them when it is told to."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    def submit_runs(self, work: Work) -> None:
        self.desk.take(Task(work))

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        raise NotImplementedError


class ForeignExecutor(BaseExecutor):
    """Does the same, as somebody may have written it for 3.x."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self.desk.take(ForeignTask(self, job, run_times))


# -- stores -------------------------------------------------------------------------------------


class RowStore(BaseJobStore):
    """A store of 3.x that keeps rows, and survives its scheduler."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def lookup_job(self, job_id: str) -> Job | None:
        return self._job(self.rows[job_id]) if job_id in self.rows else None

    def get_due_jobs(self, now: datetime) -> list[Job]:
        return [
            job for job in self.get_all_jobs() if job.next_run_time and job.next_run_time <= now
        ]

    def get_next_run_time(self) -> datetime | None:
        return next((job.next_run_time for job in self.get_all_jobs()), None)

    def get_all_jobs(self) -> list[Job]:
        far = datetime.max.replace(tzinfo=UTC)
        rows = sorted(self.rows.values(), key=lambda row: (row["next_run_time"] or far, row["id"]))
        return [self._job(row) for row in rows]

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

    def _job(self, row: dict[str, Any]) -> Job:
        job = Job.__new__(Job)
        job.__setstate__(dict(row))
        job._scheduler = self._scheduler
        job._jobstore_alias = self._alias
        return job


class Faults:
    """Lets some of the calls that a scheduler makes by itself fail."""

    def __init__(self) -> None:
        #: Set while it is a user who calls.
        self.asleep = 0
        self.fired = 0
        self.plan: dict[str, tuple[int, bool]] = {}

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        times, after = self.plan.get(name, (0, False))
        if self.asleep or not times:
            return call()
        self.plan[name] = times - 1, after
        self.fired += 1
        if after:
            call()
        raise OSError(f"{name} is out of order")


def _faulty(base: type[Any], *names: str) -> type[Any]:
    def wrap(name: str) -> Callable[..., Any]:
        method = getattr(base, name)

        @wraps(method)
        def call(self: Any, *args: Any) -> Any:
            return self.faults.around(name, lambda: method(self, *args))

        return call

    return type(f"Faulty{base.__name__}", (base,), {name: wrap(name) for name in names})


_OF_3X = ("get_due_jobs", "get_next_run_time", "update_job", "remove_job")
_OF_OURS = ("claim", "claim_waiting", "apply", "next_wake")
#: Each kind of store with those of its calls that can be made to fail.
STORES: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "ours": (_faulty(MemoryJobStore, *_OF_OURS), _OF_OURS),
    "rows": (_faulty(RowStore, *_OF_3X), _OF_3X),
    # With methods of 3.x redefined, a scheduler uses no others.
    "objects": (_faulty(MemoryJobStore, *_OF_3X), _OF_3X),
}
