"""The seam round a job store that has only the methods of 3.x.

Such a store belongs to one scheduler. What it cannot keep (Runs, incarnations) is kept here, in
memory. It is asked under the one re-entrant lock under which 3.x asked it; that lock is let go
before anything is decided or run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from apscheduler.clock import UTC
from apscheduler.jobstores._ledger import Ledger
from apscheduler.jobstores.base import BaseJobStore, ClaimingJobStore, Claims, JobLookupError
from apscheduler.runs import Due, JobChange, Live, Plan, Run, RunQuery, Transition

if TYPE_CHECKING:
    from apscheduler.job import Job


class _Life:
    """What is known of a job beside its store.

    ``version`` grows with every write that passes through here.
    """

    __slots__ = ("born", "incarnation", "last_slot", "version")

    def __init__(self, born: datetime | None, incarnation: str) -> None:
        self.born = born
        self.incarnation = incarnation
        self.last_slot: datetime | None = None
        self.version = 0


class UnsharedJobStore(ClaimingJobStore):
    """Lets slots be claimed from a store of 3.x.

    :param store: the store with the eight methods
    :param lock: the re-entrant lock under which it is asked
    """

    # Each claim asks the store for all that is due.
    claim_limit = 10_000

    def __init__(self, store: BaseJobStore, lock: AbstractContextManager[Any]) -> None:
        self.store = store
        self._lock = lock
        self._lives: dict[str, _Life] = {}
        # Decisions whose write raised, with what was known of their jobs.
        self._unsure: dict[str, tuple[Due, Plan, _Life, int]] = {}
        self._incarnations = count(1)
        self._ledger = Ledger(self._lives.__contains__)

    def lookup_job(self, job_id: str) -> Job | None:
        with self._lock:
            return self.store.lookup_job(job_id)

    def get_due_jobs(self, now: datetime) -> list[Job]:
        with self._lock:
            return self.store.get_due_jobs(now)

    def get_next_run_time(self) -> datetime | None:
        with self._lock:
            return self.store.get_next_run_time()

    def get_all_jobs(self) -> list[Job]:
        with self._lock:
            return self.store.get_all_jobs()

    def add_job(self, job: Job, born: datetime | None = None) -> None:
        with self._lock:
            self.store.add_job(job)
            self._lives[job.id] = self._new_life(born)

    def update_job(self, job: Job, born: datetime | None = None) -> None:
        with self._lock:
            self.store.update_job(job)
            self._changed(job.id, born)

    def replace_job(self, job: Job, keeps_phase: Callable[[Job], bool], born: datetime) -> bool:
        with self._lock:
            stored = self.store.lookup_job(job.id)
            if stored is None:
                raise JobLookupError(job.id)
            kept = keeps_phase(stored)
            self.update_job(job, None if kept else born)
            return kept

    def modify_job(
        self, job_id: str, change: Callable[[Job], None], born: datetime | None = None
    ) -> Job:
        with self._lock:
            job = self.store.lookup_job(job_id)
            if job is None:
                raise JobLookupError(job_id)
            change(job)
            self.store.update_job(job)
            self._changed(job_id, born)
            return job

    def remove_job(self, job_id: str) -> None:
        with self._lock:
            self.store.remove_job(job_id)
            self._forget(job_id)

    def remove_all_jobs(self) -> None:
        with self._lock:
            self.store.remove_all_jobs()
            for job_id in list(self._lives):
                self._forget(job_id)

    def claim(
        self,
        now: datetime,
        decide: Callable[[Due], Plan | None],
        limit: int,
        without: Collection[str],
    ) -> Claims:
        claims = Claims([], [])
        with self._lock:
            self._settle_unsure(claims, without)
            read = [
                (job, job.next_run_time, life := self._life(job.id), life.version)
                for job in self.store.get_due_jobs(now)
                if job.id not in without
            ]
        for job, slot, life, version in read:
            if len(claims.won) >= limit:
                break
            if slot is None or life.version != version:
                continue
            live = self._ledger.live(job.id)
            due = Due(job, slot, life.incarnation, life.born, life.last_slot, live)
            plan = decide(due)
            if plan is None:
                continue
            with self._lock:
                if self._lives.get(job.id) is life and life.version == version:
                    self._carry_out(claims, due, plan, life)
        return claims

    def claim_waiting(
        self, now: datetime, decide: Callable[[Run, Job | None], Transition], limit: int
    ) -> list[tuple[Run, Job]]:
        return self._ledger.start_waiting(now, decide, limit, self.lookup_job)

    def open_run(self, job_id: str, decide: Callable[[Job, str, Live], Run]) -> tuple[Run, Job]:
        with self._lock:
            job = self.store.lookup_job(job_id)
            if job is None:
                raise JobLookupError(job_id)
            life = self._life(job_id)
            run = decide(job, life.incarnation, self._ledger.live(job_id))
            self._ledger.record((run,))
            life.version += 1
            return run, job

    def apply(self, transitions: Sequence[Transition]) -> list[bool]:
        return [self._ledger.apply(transition) for transition in transitions]

    def next_wake(self, without: Collection[str]) -> datetime | None:
        attention = self._ledger.next_attention()
        with self._lock:
            due = self.store.get_next_run_time()
            if due is not None and without:
                # That may be the time of a job that does not count, and a store of 3.x cannot
                # be asked for the next one.
                due = _earliest(
                    job.next_run_time for job in self.store.get_all_jobs() if job.id not in without
                )
        return _earliest((due, attention))

    def get_runs(self, query: RunQuery) -> list[Run]:
        return self._ledger.query(query)

    def note(self, change: JobChange) -> None:
        self._ledger.note(change)

    def get_changes(self, job_id: str) -> list[JobChange]:
        return self._ledger.changes(job_id)

    def _life(self, job_id: str) -> _Life:
        life = self._lives.get(job_id)
        if life is None:
            life = self._lives[job_id] = self._new_life(None)
        return life

    def _new_life(self, born: datetime | None) -> _Life:
        return _Life(born, f"{next(self._incarnations):x}")

    def _changed(self, job_id: str, born: datetime | None) -> None:
        if born is not None:
            self._lives[job_id] = self._new_life(born)
        else:
            self._life(job_id).version += 1

    def _forget(self, job_id: str) -> None:
        self._lives.pop(job_id, None)
        self._unsure.pop(job_id, None)
        self._ledger.job_removed(job_id)

    def _carry_out(self, claims: Claims, due: Due, plan: Plan, life: _Life) -> None:
        try:
            self._write(due.job, plan)
        except JobLookupError:
            self._forget(due.job.id)
        except Exception as error:
            self._unsure[due.job.id] = due, plan, life, life.version
            claims.failed.append((due, error))
        else:
            self._written(due, plan)
            claims.won.append((due, plan))

    def _write(self, job: Job, plan: Plan) -> None:
        """Carry out a decision; if the store fails, the object it handed out is as it was."""
        if plan.next_run_time is None:
            self.store.remove_job(job.id)
            return
        as_read, job.next_run_time = job.next_run_time, plan.next_run_time
        try:
            self.store.update_job(job)
        except BaseException:
            job.next_run_time = as_read
            raise

    def _written(self, due: Due, plan: Plan) -> None:
        self._unsure.pop(due.job.id, None)
        self._ledger.record((*plan.opened, *plan.closed))
        if plan.next_run_time is None:
            self._forget(due.job.id)
        else:
            life = self._life(due.job.id)
            life.last_slot = plan.last_slot
            life.version += 1

    def _settle_unsure(self, claims: Claims, without: Collection[str]) -> None:
        """Find out what became of the decisions whose write raised.

        The store may have carried one out all the same. Where it hands out the object that it
        keeps, that cannot be seen, and the same write is made once more.
        """
        for due, plan, life, version in list(self._unsure.values()):
            job_id = due.job.id
            if job_id in without:
                continue
            job = self.store.lookup_job(job_id)
            if self._lives.get(job_id) is not life:
                del self._unsure[job_id]
                continue
            stored = _timestamp(job.next_run_time if job else None)
            written = stored == _timestamp(plan.next_run_time) != due.slot.timestamp()
            if life.version != version:
                # Its ground has moved: the slot is decided anew, and for that it is put back.
                if job is not None and (written or job is due.job):
                    if written:
                        job.next_run_time = due.slot
                    self.store.update_job(job)
                del self._unsure[job_id]
                continue
            del self._unsure[job_id]
            if job is due.job:
                self._carry_out(claims, due, plan, life)
            elif written:
                self._written(due, plan)
                claims.won.append((due, plan))


def _earliest(moments: Iterable[datetime | None]) -> datetime | None:
    # In UTC, because two times of one zone are compared by their wall clocks.
    return min((moment.astimezone(UTC) for moment in moments if moment), default=None)


def _timestamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
