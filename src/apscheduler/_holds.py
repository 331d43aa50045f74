"""Which due jobs of a job store a turn leaves alone, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from threading import RLock

from apscheduler.runs import value


@value
class Hold:
    """Why a job is left alone, and until when: None for until it is released."""

    reason: str
    until: datetime | None = None
    #: Set where it is the job store that failed.
    store_error: str | None = None


class Holds:
    """The jobs of one store that turns leave alone; as a collection, their ids."""

    def __init__(self) -> None:
        self._holds: dict[str, Hold] = {}
        self._failures: dict[str, int] = {}
        # How often each is being added at the moment: nothing else may release those.
        self._announced: dict[str, int] = {}
        self._lock = RLock()

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._holds or job_id in self._announced

    def __len__(self) -> int:
        return len(self._holds) + len(self._announced)

    def __iter__(self) -> Iterator[str]:
        yield from tuple(self._holds)
        yield from tuple(self._announced)

    def put(self, job_id: str, hold: Hold) -> None:
        self._holds[job_id] = hold

    def get(self, job_id: str) -> Hold | None:
        return self._holds.get(job_id)

    def values(self) -> tuple[Hold, ...]:
        return tuple(self._holds.values())

    def release(self, job_id: str) -> bool:
        """Let turns ask about a job again; return whether they did not."""
        return self._holds.pop(job_id, None) is not None

    def release_for(self, reason: str) -> None:
        """Release all that are held for a reason."""
        for job_id, hold in tuple(self._holds.items()):
            if hold.reason == reason:
                self.release(job_id)

    def forget(self, job_id: str) -> None:
        """Release a job that is another one now, or gone, and forget its failures."""
        self._holds.pop(job_id, None)
        self._failures.pop(job_id, None)

    def failures(self) -> Iterator[tuple[Hold, int]]:
        """Yield why jobs are left alone, with how often each has failed in a row."""
        for job_id, hold in tuple(self._holds.items()):
            yield hold, self._failures.get(job_id, 0)

    def clear(self) -> None:
        """Release all, but those that are being announced."""
        self._holds.clear()
        self._failures.clear()

    def expire(self, now: datetime) -> None:
        """Release all whose time is over."""
        if not self._holds:  # nearly always
            return
        for job_id, hold in tuple(self._holds.items()):
            if hold.until is not None and hold.until <= now:
                self.release(job_id)

    def next_expiry(self) -> datetime | None:
        """Return when the next one is released by itself."""
        if not self._holds:
            return None
        return min((hold.until for hold in self.values() if hold.until), default=None)

    def announce(self, job_id: str) -> None:
        """Leave a job alone while its being added is told."""
        with self._lock:
            self._announced[job_id] = self._announced.get(job_id, 0) + 1

    def announced(self, job_id: str) -> None:
        """It is told."""
        with self._lock:
            left = self._announced.pop(job_id) - 1
            if left:
                self._announced[job_id] = left

    def failed(self, job_id: str) -> int:
        """Count a failure of a job; return how many there were in a row."""
        self._failures[job_id] = self._failures.get(job_id, 0) + 1
        return self._failures[job_id]

    def succeeded(self, job_ids: Iterable[str]) -> None:
        """Forget the failures of jobs."""
        if self._failures:
            for job_id in job_ids:
                self._failures.pop(job_id, None)
