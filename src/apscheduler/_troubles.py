"""Job stores and jobs that fail, and when each is tried again."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from apscheduler._holds import Hold, Holds
from apscheduler.runs import replace, value

if TYPE_CHECKING:
    from apscheduler._house import House, Voice
    from apscheduler.job import Job

#: Seconds until a store or a job that failed is tried again; doubled up to the scheduler's
#: `jobstore_retry_interval`.
FIRST_RETRY: Final = 0.5
SHORTEST_RETRY: Final = 0.01


@value
class Trouble:
    """A store that failed."""

    error: str
    since: datetime
    failures: int
    retry_at: datetime


class Troubles(dict[str, Trouble]):
    """The job stores that fail, by their aliases."""

    def __init__(self, house: House, voice: Voice) -> None:
        super().__init__()
        self._house = house
        self._voice = voice
        # Stores that may have carried out a call that failed.
        self.unsure: set[str] = set()

    def store_failed(self, alias: str, error: Exception, now: datetime) -> datetime:
        """Note that a store failed; return when to ask it again."""
        before = self.get(alias)
        failures = before.failures + 1 if before else 1
        retry_at = now + timedelta(seconds=self._delay(failures))
        self.unsure.add(alias)
        self[alias] = Trouble(_text(error), before.since if before else now, failures, retry_at)
        self._voice.log(
            logging.WARNING,
            "Error getting due jobs from job store %r: %s; it is asked again at %s",
            alias,
            error,
            retry_at,
            # The place of the failure is worth its lines once, not at every retry.
            exc_info=error if before is None else None,
        )
        return retry_at

    def ask_again(self) -> None:
        """Ask all stores that failed at the next turn."""
        for alias, trouble in list(self.items()):
            self[alias] = replace(trouble, retry_at=trouble.since)

    def store_answers(self, alias: str, trouble: Trouble) -> None:
        """Note that a store answers again, unless it has failed anew meanwhile."""
        if self.get(alias) is trouble:
            del self[alias]
            self._voice.log(
                logging.INFO,
                "Job store %r answers again after %d failures since %s",
                alias,
                trouble.failures,
                trouble.since,
            )

    def write_failed(
        self, alias: str, job: Job, holds: Holds, error: Exception, now: datetime
    ) -> None:
        """A decision about one job could not be written, so nothing of it was done."""
        reason = "its job store did not take it"
        retry_at = self._retry(holds, job.id, now, reason, _text(error))
        self._voice.log(
            logging.ERROR,
            'Error updating job "%s" in job store %r; it has not run, and is tried again at %s',
            job.id,
            alias,
            retry_at,
            exc_info=error,
        )

    def trigger_failed(self, job: Job, holds: Holds, error: Exception, now: datetime) -> None:
        """Nothing could be decided about a job."""
        retry_at = self._retry(holds, job.id, now, f"its trigger failed: {error!r}")
        self._voice.log(
            logging.ERROR,
            'Error in the trigger of job "%s"; the job is tried again at %s',
            job.id,
            retry_at,
            exc_info=error,
        )

    def _retry(
        self,
        holds: Holds,
        job_id: str,
        now: datetime,
        reason: str,
        store_error: str | None = None,
    ) -> datetime:
        """Leave a job that failed alone for a while, longer each time."""
        retry_at = now + timedelta(seconds=self._delay(holds.failed(job_id)))
        holds.put(job_id, Hold(reason, retry_at, store_error))
        return retry_at

    def _delay(self, failures: int) -> float:
        longest = self._house.jobstore_retry_interval
        delay = FIRST_RETRY * 2.0 ** min(failures - 1, 30)
        # 3.x accepts any number. One that is no time must not make the loop spin.
        return min(longest, delay) if longest >= SHORTEST_RETRY else SHORTEST_RETRY


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
