"""What a third party would write around the scheduler, and callables for its jobs."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.events import EVENT_ALL
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.executors.debug import DebugExecutor
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger

FAR = datetime(2099, 9, 9, tzinfo=UTC)
LONG_AGO = datetime(2020, 2, 2, tzinfo=UTC)
PATIENCE = 5.0


def noop() -> None:
    """Do nothing."""


def add(a: int, b: int = 0) -> int:
    return a + b


def echo(*args: object, **kwargs: object) -> tuple[object, ...]:
    return (*args, kwargs)


def fail() -> None:
    raise ValueError("no luck")


def leave() -> None:
    raise SystemExit(3)


async def coroutine(value: int = 7) -> int:
    return value


class Greeter:
    def __init__(self, name: str = "world") -> None:
        self.name = name

    def greet(self) -> str:
        return f"hello {self.name}"

    @classmethod
    def shout(cls) -> str:
        return cls.__name__.upper()

    @staticmethod
    def hum() -> str:
        return "hm"

    def __call__(self) -> str:
        return f"called {self.name}"


class Butler(Greeter):
    pass


greeter = Greeter("module")


class Unpicklable:
    def __reduce__(self) -> str:
        raise pickle.PicklingError("stays here")


def unpicklable() -> Unpicklable:
    return Unpicklable()


class TurnScheduler(BaseScheduler):
    """Takes a turn when it is told to; what is due runs inline."""

    wakeups = 0

    def shutdown(self, wait: bool = True) -> None:
        super().shutdown(wait)

    def wakeup(self) -> None:
        self.wakeups += 1

    def _create_default_executor(self) -> BaseExecutor:
        return DebugExecutor()


class HeldExecutor(BaseExecutor):
    """Keeps what is submitted until `release` runs it."""

    def __init__(self, limit: int | None = None, note: str = "") -> None:
        super().__init__()
        self.limit = limit
        self.note = note
        self.held: list[tuple[Job, list[datetime]]] = []
        self.shut_down_with: list[bool] = []

    def shutdown(self, wait: bool = True) -> None:
        self.shut_down_with.append(wait)

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        if self.limit is not None and len(self.held) >= self.limit:
            raise RuntimeError("no more room")
        self.held.append((job, run_times))

    def release(self) -> None:
        held, self.held = self.held, []
        for job, run_times in held:
            try:
                events = run_job(job, job._jobstore_alias, run_times, self._logger.name)
            except BaseException as exc:
                self._run_job_error(job.id, exc, exc.__traceback__)
            else:
                self._run_job_success(job.id, events)


class DictJobStore(BaseJobStore):
    """Keeps pickled states in a dict, as the guide on extending tells to."""

    def __init__(self, note: str = "") -> None:
        self.note = note
        self.rows: dict[str, tuple[datetime | None, bytes]] = {}
        self.shutdowns = 0
        self.failure: Exception | None = None

    def shutdown(self) -> None:
        self.shutdowns += 1

    def lookup_job(self, job_id: str) -> Job | None:
        row = self.rows.get(job_id)
        return None if row is None else self._restore(row[1])

    def get_due_jobs(self, now: datetime) -> list[Job]:
        if self.failure is not None:
            raise self.failure
        return [
            job for job in self.get_all_jobs() if job.next_run_time and job.next_run_time <= now
        ]

    def get_next_run_time(self) -> datetime | None:
        return min((when for when, _ in self.rows.values() if when is not None), default=None)

    def get_all_jobs(self) -> list[Job]:
        paused_first = sorted(
            self.rows.items(), key=lambda row: (row[1][0] is not None, row[1][0] or FAR, row[0])
        )
        jobs = [self._restore(state) for _, (_, state) in paused_first]
        self._fix_paused_jobs_sorting(jobs)
        return jobs

    def add_job(self, job: Job) -> None:
        if job.id in self.rows:
            raise ConflictingIdError(job.id)
        self._write(job)

    def update_job(self, job: Job) -> None:
        if job.id not in self.rows:
            raise JobLookupError(job.id)
        self._write(job)

    def remove_job(self, job_id: str) -> None:
        if self.rows.pop(job_id, None) is None:
            raise JobLookupError(job_id)

    def remove_all_jobs(self) -> None:
        self.rows.clear()

    def _write(self, job: Job) -> None:
        self.rows[job.id] = (job.next_run_time, pickle.dumps(job.__getstate__()))

    def _restore(self, state: bytes) -> Job:
        job = Job.__new__(Job)
        job.__setstate__(pickle.loads(state))
        job._scheduler = self._scheduler
        job._jobstore_alias = self._alias
        return job


class SteppingTrigger(BaseTrigger):
    """Fires every `step` from `first` on, at most `count` times."""

    def __init__(
        self,
        first: datetime = LONG_AGO,
        step: timedelta = timedelta(days=1),
        count: int | None = None,
        timezone: object = None,
    ) -> None:
        self.first = first
        self.step = step
        self.count = count
        self.timezone = timezone

    def get_next_fire_time(self, previous_fire_time: Any, now: datetime) -> datetime | None:
        if previous_fire_time is None:
            return self.first
        following = previous_fire_time + self.step
        if self.count is not None and (following - self.first) // self.step >= self.count:
            return None
        return following

    def __str__(self) -> str:
        return "stepping"


class Heard:
    """The events that a listener of a scheduler was given, in order."""

    def __init__(self, scheduler: BaseScheduler, mask: int = EVENT_ALL) -> None:
        self.events: list[Any] = []
        self._news = threading.Condition()
        scheduler.add_listener(self, mask)

    def __call__(self, event: Any) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    @property
    def codes(self) -> list[int]:
        return [event.code for event in self.events]

    def of(self, code: int) -> list[Any]:
        return [event for event in self.events if event.code & code]

    def wait_for(self, code: int, count: int = 1) -> Any:
        """Return the latest event of these codes once there are ``count`` of them."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.of(code)) >= count, PATIENCE), (
                f"no event {code} among {self.codes}"
            )
            return self.of(code)[-1]

    def clear(self) -> None:
        self.events.clear()


def ids(jobs: Iterable[Job]) -> list[str]:
    return [job.id for job in jobs]


def now() -> datetime:
    return datetime.now(UTC)
