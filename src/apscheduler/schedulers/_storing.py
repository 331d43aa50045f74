"""The part of a scheduler that puts completed jobs into its job stores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from apscheduler import _engine
from apscheduler.job import Job
from apscheduler.jobstores.base import ClaimingJobStore, ConflictingIdError, JobLookupError
from apscheduler.runs import JobChange, JobChangeKind, JobQuery
from apscheduler.schedulers._finding import FindMethods

#: How often a job is stored while the one that it is to replace comes and goes.
TRIES = 10


class StoreMethods(FindMethods):
    """Jobs that are stored as new ones, or in the place of others."""

    def _store_jobs(
        self, alias: str, jobs: list[tuple[Job, bool]], replace_existing: bool, born: datetime
    ) -> Iterator[tuple[Job, bool]]:
        """Store jobs, and yield them as they are stored."""
        store = self._seam(alias)
        taken: set[str] = set()
        if replace_existing:
            ids = frozenset(job.id for job, _ in jobs)
            taken = {job.id for job in store.find_jobs(JobQuery(ids))}
        new = [entry for entry in jobs if entry[0].id not in taken]
        try:
            if new:
                self._store_new(store, alias, new, born)
        except ConflictingIdError:
            if not replace_existing:
                raise
            # Somebody was faster, or an id is there twice.
            left = jobs
        else:
            yield from new
            left = [entry for entry in jobs if entry[0].id in taken]
        for job, keep_phase in left:
            self._store_job(job, alias, replace_existing, keep_phase, born)
            yield job, keep_phase

    def _store_new(
        self, store: ClaimingJobStore, alias: str, jobs: list[tuple[Job, bool]], born: datetime
    ) -> None:
        for job, _ in jobs:
            job._jobstore_alias = alias
        try:
            store.add_jobs([job for job, _ in jobs], born)
        except BaseException:
            for job, _ in jobs:
                job._jobstore_alias = None
            raise
        for job, keep_phase in jobs:
            if self._has_a_past(store, job):
                change = JobChange(job.id, born, JobChangeKind.ADDED, job.next_run_time)
                self._loop.leftovers.note(alias, change)
            self._note_paused(alias, job, keep_phase, born)

    def _has_a_past(self, store: ClaimingJobStore, job: Job) -> bool:
        """Tell whether something is noted of another job by its id, which is not true of it.

        Where that takes a query, it must be clear without one.
        """
        return not store.blocking and bool(store.get_changes(job.id))

    def _store_job(
        self, job: Job, alias: str, replace_existing: bool, keep_phase: bool, born: datetime
    ) -> None:
        store = self._seam(alias)
        job._jobstore_alias = alias
        try:
            kind = self._put(store, job, replace_existing, keep_phase, born)
        except BaseException:
            job._jobstore_alias = None
            raise
        if kind is not None:
            self._loop.leftovers.note(alias, JobChange(job.id, born, kind, job.next_run_time))
        if job.next_run_time is None:
            self._note_paused(alias, job, keep_phase, born)

    def _put(
        self,
        store: ClaimingJobStore,
        job: Job,
        replace_existing: bool,
        keep_phase: bool,
        born: datetime,
    ) -> JobChangeKind | None:
        """Store a job, and return what is to be noted of that."""
        tries = 0
        while True:
            try:
                store.add_job(job, born)
                return JobChangeKind.ADDED if self._has_a_past(store, job) else None
            except ConflictingIdError:
                if not replace_existing:
                    raise
            try:
                kept = self._replace_job(store, job, keep_phase, born)
                return None if kept else JobChangeKind.MODIFIED
            except JobLookupError:
                # Another process has run or removed that one in between.
                tries += 1
                if tries == TRIES:
                    raise

    def _note_paused(self, alias: str, job: Job, keep_phase: bool, born: datetime) -> None:
        """Note if a job was added paused."""
        if job.next_run_time is None and not keep_phase:
            self._loop.leftovers.note(alias, JobChange(job.id, born, JobChangeKind.PAUSED))

    def _replace_job(
        self, store: ClaimingJobStore, job: Job, keep_phase: bool, born: datetime
    ) -> bool:
        """Put a job in the place of another one; return whether it goes on where that one was."""
        fresh = {"trigger": job.trigger, "next_run_time": job.next_run_time}

        def keeps_phase(stored: Job) -> bool:
            kept = keep_phase and _engine.keeps_phase(stored, job)
            # It may be asked again, about another one.
            job._apply(
                {"trigger": stored.trigger, "next_run_time": stored.next_run_time}
                if kept
                else fresh
            )
            return kept

        try:
            return store.replace_job(job, keeps_phase, born)
        except JobLookupError:
            job._apply(fresh)
            raise
