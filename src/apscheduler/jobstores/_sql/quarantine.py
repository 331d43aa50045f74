"""Jobs and Runs whose rows cannot be read, and the making of jobs from rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from apscheduler._log import say
from apscheduler.clock import UTC
from apscheduler.job import Job
from apscheduler.jobstores import _pickled
from apscheduler.jobstores._sql.rows import check_length
from apscheduler.jobstores._sql.schema import MAX_NAME
from apscheduler.jobstores.base import QuarantinedJob
from apscheduler.runs import value


@value
class Verdict:
    """Why a content cannot be read."""

    digest: str
    reason: str
    since: datetime | None


class Reader:
    """Makes jobs from rows, and remembers which rows it cannot make one from.

    :param alias: name of the job store
    :param reconstitute: makes a job from its state, and may run code of users
    :param harmless: makes one without running any, or raises `_pickled.NotHarmlessError`; None
        where that cannot be known
    """

    def __init__(
        self,
        alias: str,
        logger: logging.Logger,
        reconstitute: Callable[[bytes], Job],
        harmless: Callable[[bytes], Job] | None,
    ) -> None:
        self._alias = alias
        self._logger = logger
        self._reconstitute = reconstitute
        self._harmless = harmless
        self._verdicts: dict[str, Verdict] = {}
        # By themselves: what a Run holds says nothing of the job that is stored by now.
        self._unreadable_runs: set[str] = set()
        self._told: set[tuple[str, str]] = set()
        self._reasons: set[str] = set()
        #: The moment of the last claim: the store itself has no clock.
        self.now: datetime | None = None

    @property
    def unreadable(self) -> list[str]:
        """The ids of jobs that cannot be read."""
        return list(self._verdicts)

    @property
    def unreadable_runs(self) -> list[str]:
        """The ids of waiting Runs that are left to others."""
        return list(self._unreadable_runs)

    def verdict(self, job_id: str) -> Verdict | None:
        return self._verdicts.get(job_id)

    def read(self, row: Any) -> Job | None:
        """Return the job of a row; None, and a word about it, if it cannot be read."""
        return self.read_content(row.id, row.job_state, getattr(row, "options", None))

    def read_content(self, job_id: str, state: bytes, options: str | None) -> Job | None:
        """Return the job of a row, of which this is what a job is made from."""
        if self._verdicts and (verdict := self._verdicts.get(job_id)) is not None:
            if verdict.digest == _pickled.digest(state):
                return None
            self.release(job_id)
        try:
            return _checked(self._reconstitute(state), job_id, options)
        except BaseException as error:
            if _is_meant_for_the_thread(error):
                raise
            self._condemn(job_id, state, error)
            return None

    def read_under_lock(self, row: Any) -> Job | None:
        """Return the job of a row, if that takes no code of users and the job can be read.

        :raises NotHarmlessError: if it is to be read when nothing is locked
        """
        verdict = self._verdicts.get(row.id)
        if verdict is not None and verdict.digest == _pickled.digest(row.job_state):
            return None
        if self._harmless is None:
            raise _pickled.NotHarmlessError(row.id)
        try:
            job = self._harmless(row.job_state)
            return _checked(job, row.id, getattr(row, "options", None))
        except Exception as error:
            raise _pickled.NotHarmlessError(row.id) from error

    def read_definition(self, row: Any) -> Job | None:
        """Return the job that a Run holds; None, and a word about it, if it cannot be read."""
        if row.id in self._unreadable_runs:
            return None
        state, options = _pickled.split(row.definition)
        try:
            job = self._reconstitute(state)
            _pickled.load_options(job, options)
        except BaseException as error:
            if _is_meant_for_the_thread(error):
                raise
            self._condemn_run(row, error)
            return None
        return job

    def release(self, job_id: str) -> None:
        """Let a job be tried again."""
        self._verdicts.pop(job_id, None)

    def release_changed(self, digests: dict[str, str]) -> None:
        """Let those be tried again whose content is another one, or is gone.

        :param digests: what the contents are now, by the ids of their jobs
        """
        for job_id, verdict in list(self._verdicts.items()):
            if digests.get(job_id) != verdict.digest:
                self.release(job_id)

    def pass_over(self, run_id: str) -> None:
        """Leave a waiting Run to others, since what it holds cannot be read."""
        self._unreadable_runs.add(run_id)

    def release_runs(self, but: Collection[str] = ()) -> None:
        """Let Runs be tried again, but for some."""
        self._unreadable_runs.intersection_update(but)

    def listed(self) -> list[QuarantinedJob]:
        return [
            QuarantinedJob(job_id, self._alias, verdict.reason, verdict.since)
            for job_id, verdict in sorted(self._verdicts.items())
        ]

    def _condemn(self, job_id: str, state: bytes, error: BaseException) -> None:
        digest, reason = _pickled.digest(state), _reason(error)
        self._verdicts[job_id] = Verdict(digest, reason, self.now)
        self._tell_once(
            (job_id, digest),
            error,
            'Unable to restore job "%s": %s. It is left out until it can be read. Its row is kept '
            "as it is, and tried again when it has changed or the scheduler is started; make what "
            "it refers to importable here, or remove or replace the job",
            job_id,
            reason,
        )

    def _condemn_run(self, row: Any, error: BaseException) -> None:
        self._tell_once(
            ("", row.id),
            error,
            'Unable to restore what run %s holds of job "%s": %s. This scheduler leaves it to '
            "others, and tries it again when it is started; make what it refers to importable "
            "here",
            row.id,
            row.job_id,
            _reason(error),
        )

    def _tell_once(self, what: tuple[str, str], error: BaseException, *message: Any) -> None:
        if what in self._told:
            return
        self._told.add(what)
        # A module that is missing may be missed by thousands of jobs.
        reason = _reason(error)
        is_new = reason not in self._reasons
        self._reasons.add(reason)
        say(
            self._logger,
            logging.ERROR,
            *message,
            exc_info=error if is_new else None,
            stacklevel=4,
        )


def _checked(job: Job, job_id: str, options: str | None) -> Job:
    if job.id != job_id:
        raise ValueError(f"its state is that of the job {job.id!r}")
    moment = job.next_run_time
    if moment is not None and moment.tzinfo is not UTC and moment.utcoffset() is None:
        raise ValueError("its next run time has no time zone")
    if len(job.executor) > MAX_NAME:
        check_length("alias of an executor", job.executor, MAX_NAME)
    if options is not None:
        _pickled.load_options(job, options)
    return job


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _is_meant_for_the_thread(error: BaseException) -> bool:
    """Tell whether an exception comes from outside, rather than from what was being read."""
    return isinstance(error, KeyboardInterrupt) or any(
        cls.__module__.partition(".")[0] in {"greenlet", "gevent"} for cls in type(error).__mro__
    )
