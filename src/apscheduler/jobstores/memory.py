"""Jobs in memory: the objects themselves, in a dict and a heap."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import count, zip_longest
from threading import RLock
from typing import TYPE_CHECKING, cast

from apscheduler.jobstores._due import DueQueue
from apscheduler.jobstores._ledger import Ledger
from apscheduler.jobstores.base import ClaimingJobStore, Claims, ConflictingIdError, JobLookupError
from apscheduler.runs import Due, JobChange, Live, Plan, Run, RunQuery, Transition

if TYPE_CHECKING:
    from apscheduler.job import Job


class MemoryJobStore(ClaimingJobStore):
    """Keeps jobs in this process, and forgets them when it is shut down.

    Jobs are not copied: `lookup_job` answers with the object that was added (unless another store
    in memory keeps that already), and what a job's function does to its arguments stays. Adding,
    changing and claiming a job cost O(log n).
    """

    # A claim makes eight objects for each job, which do not live long. Of few jobs at once they
    # are gone before the garbage collector comes, after 700 new ones; else it moves them to where
    # only a look at all jobs finds them again, which holds up an event loop for long.
    claim_limit = 50

    def __init__(self) -> None:
        super().__init__()
        self._begin()

    def _begin(self) -> None:
        # What is known beside a job stands in private attributes of the job itself, since a
        # second object for each job would cost as much again: ``_due``, the timestamp of its next
        # run time, None while it is paused or once it is gone; ``_slot``, the very object which
        # that is the timestamp of; ``_version``, which grows with every write and is, with
        # ``_incarnation``, the ground of a decision; ``_born`` and ``_last_slot``.
        # ``_incarnation`` is empty where no store keeps the object.
        self._jobs: dict[str, Job] = {}
        # Times and ids. Lazy deletion: an item stands only while its time is that of its job.
        self._queue = DueQueue()
        # Due jobs that were not to be asked about, so that they do not block the heap's top.
        self._parked: dict[str, Job] = {}
        self._lock = RLock()
        self._incarnations = count(1)
        # That of the jobs which are added until one goes: so they can share it.
        self._incarnation: str | None = None
        self._ledger = Ledger(self._jobs.__contains__)

    def shutdown(self) -> None:
        self.remove_all_jobs()

    def after_fork(self) -> Iterable[Job]:
        jobs = self._jobs
        self._begin()
        return map(_freed, jobs.values())

    def lookup_job(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def get_due_jobs(self, now: datetime) -> list[Job]:
        with self._lock:
            due = sorted(self._items_until(now.timestamp()))
            return [self._jobs[job_id] for _, job_id in due]

    def get_next_run_time(self) -> datetime | None:
        with self._lock:
            jobs = list(self._parked.values())
            if (top := self._top()) is not None:
                jobs.append(top)
            return min(jobs, key=_by_next_run_time).next_run_time if jobs else None

    def get_all_jobs(self) -> list[Job]:
        with self._lock:
            return sorted(self._jobs.values(), key=_by_next_run_time)

    def add_job(self, job: Job, born: datetime | None = None) -> None:
        with self._lock:
            if job.id in self._jobs:
                raise ConflictingIdError(job.id)
            if self._incarnation is None:
                self._incarnation = self._new_incarnation()
            job = self._take_in(job, self._incarnation, born)
            if job.next_run_time is not None:
                job._slot = job.next_run_time
                job._due = due = job.next_run_time.timestamp()
                self._queue.push((due, job.id))

    def update_job(self, job: Job, born: datetime | None = None) -> None:
        with self._lock:
            known = self._job(job.id)
            if job is not known:
                life, version = known._incarnation, known._version
                self._let_go(known)
                job = self._take_in(job, life, known._born, known._last_slot)
                # It may have been kept here before, at any of the versions that have been.
                job._version = version + 1
            self._changed(job, born)

    def replace_job(self, job: Job, keeps_phase: Callable[[Job], bool], born: datetime) -> bool:
        with self._lock:
            kept = keeps_phase(self._job(job.id))
            self.update_job(job, None if kept else born)
            return kept

    def modify_job(
        self, job_id: str, change: Callable[[Job], None], born: datetime | None = None
    ) -> Job:
        with self._lock:
            job = self._job(job_id)
            change(job)
            self._changed(job, born)
            return job

    def remove_job(self, job_id: str) -> None:
        with self._lock:
            self._delete(self._job(job_id))
            self._sweep()
        self._ledger.job_removed(job_id)

    def remove_all_jobs(self) -> None:
        with self._lock:
            removed = list(self._jobs)
            for job in self._jobs.values():
                self._let_go(job)
            self._jobs.clear()
            self._queue.clear()
            self._incarnation = None
        for job_id in removed:
            self._ledger.job_removed(job_id)

    def claim(
        self,
        now: datetime,
        decide: Callable[[Due], Plan | None],
        limit: int,
        without: Collection[str],
    ) -> Claims:
        until = now.timestamp()
        won: list[tuple[Due, Plan]] = []
        with self._lock:
            self._unpark(without)
        goes_on = True
        while goes_on and len(won) < limit:
            with self._lock:
                in_hand, versions = self._take(until, limit - len(won), without)
            if not in_hand:
                break
            plans: list[Plan | None] = []
            try:
                plans.extend(map(decide, in_hand))
            finally:
                with self._lock:
                    won += self._write(in_hand, versions, plans)
                    goes_on = self._queue.is_due(until)
        return Claims(won, [])

    def claim_waiting(
        self, now: datetime, decide: Callable[[Run, Job | None], Transition], limit: int
    ) -> list[tuple[Run, Job]]:
        return self._ledger.start_waiting(now, decide, limit, self.lookup_job)

    def open_run(self, job_id: str, decide: Callable[[Job, str, Live], Run]) -> tuple[Run, Job]:
        with self._lock:
            job = self._job(job_id)
            run = decide(job, job._incarnation, self._ledger.live(job_id))
            self._ledger.record((run,))
            job._version += 1
            return run, job

    def apply(self, transitions: Sequence[Transition]) -> list[bool]:
        if len(transitions) == 1:  # nearly always
            return [self._ledger.apply(transitions[0])]
        return [self._ledger.apply(transition) for transition in transitions]

    def next_wake(self, without: Collection[str]) -> datetime | None:
        attention = self._ledger.next_attention()
        with self._lock:
            self._unpark(without)
            while (job := self._top()) is not None and job.id in without:
                self._parked[job.id] = job
        if job is None:
            return attention
        due = cast("datetime", job.next_run_time)
        return due if attention is None else min(due, attention)

    def get_runs(self, query: RunQuery) -> list[Run]:
        return self._ledger.query(query)

    def note(self, change: JobChange) -> None:
        self._ledger.note(change)

    def get_changes(self, job_id: str) -> list[JobChange]:
        return self._ledger.changes(job_id)

    def _job(self, job_id: str) -> Job:
        try:
            return self._jobs[job_id]
        except KeyError:
            raise JobLookupError(job_id) from None

    def _new_incarnation(self) -> str:
        return f"{next(self._incarnations):x}"

    def _take_in(
        self,
        job: Job,
        incarnation: str,
        born: datetime | None,
        last_slot: datetime | None = None,
    ) -> Job:
        if getattr(job, "_incarnation", ""):
            job = job._twin()  # What is known of it there must not be written over.
        job._incarnation = incarnation
        job._born = born
        job._last_slot = last_slot
        job._due = job._slot = None
        job._version = 0
        self._jobs[job.id] = job
        return job

    def _let_go(self, job: Job) -> None:
        if self._parked:
            self._parked.pop(job.id, None)
        job._due = None
        job._version += 1
        job._incarnation = ""

    def _delete(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        self._let_go(job)
        # Whoever takes its id is another one.
        self._incarnation = None

    def _changed(self, job: Job, born: datetime | None) -> None:
        if born is not None:
            job._born = born
            job._incarnation = self._new_incarnation()
            job._last_slot = None
        self._schedule(job)
        self._sweep()

    def _schedule(self, job: Job) -> None:
        """Put a job where its next run time belongs."""
        job._version += 1
        was_parked = bool(self._parked) and self._parked.pop(job.id, None) is not None
        next_run_time = job.next_run_time
        due = None if next_run_time is None else next_run_time.timestamp()
        job._slot = next_run_time
        if due == job._due and not was_parked:
            return
        job._due = due
        if due is not None:
            self._queue.push((due, job.id))

    def _sweep(self) -> None:
        """Forget what has been changed or removed before it was due, when it is much."""
        if len(self._queue) > 2 * len(self._jobs) + 64:
            self._queue.keep(self._stands)

    def _take(
        self, until: float, limit: int, without: Collection[str]
    ) -> tuple[list[Due], list[int]]:
        """Take due jobs from the queue; return them and the versions at which they were read."""
        taken: list[Due] = []
        versions: list[int] = []
        lookup, parked, live = self._jobs.get, self._parked, self._ledger.live
        # Nearly always there are none, and to ask for each job takes longer.
        without = without if len(without) else ()
        while not taken and (items := self._queue.take(until, limit)):
            for due, job_id in items:
                job = lookup(job_id)
                if job is None or job._due != due or job_id in parked:
                    continue  # the item does not stand
                slot = job.next_run_time
                if job_id in without:
                    parked[job_id] = job
                elif slot is None or (slot is not job._slot and slot.timestamp() != due):
                    # Somebody has changed the object, which is also his, and told nobody.
                    self._schedule(job)
                else:
                    taken.append(
                        Due(job, slot, job._incarnation, job._born, job._last_slot, live(job_id))
                    )
                    versions.append(job._version)
        return taken, versions

    def _write(
        self, in_hand: list[Due], versions: list[int], plans: list[Plan | None]
    ) -> list[tuple[Due, Plan]]:
        """Carry out those decisions whose ground still stands, and put back what was in hand."""
        won: list[tuple[Due, Plan]] = []
        runs: list[Run] = []
        for due, version, plan in zip_longest(in_hand, versions, plans):
            job = due.job
            if job._version != version or job._incarnation != due.incarnation:
                # Its ground has moved. If it is still to run, it is taken and decided anew.
                current = self._jobs.get(job.id)
                if current is not None and current._due is not None:
                    self._queue.push((current._due, job.id))
            elif plan is None:
                self._parked[job.id] = job
            else:
                won.append((due, plan))
                runs += plan.opened
                if plan.closed:
                    runs += plan.closed
                if plan.next_run_time is None:
                    self._delete(job)
                else:
                    job._last_slot = plan.last_slot
                    job.next_run_time = plan.next_run_time
                    self._schedule(job)
        self._ledger.record(runs)
        return won

    def _stands(self, item: tuple[float, str]) -> bool:
        job = self._jobs.get(item[1])
        return job is not None and job._due == item[0] and item[1] not in self._parked

    def _top(self) -> Job | None:
        """Return the job that is due first, parked ones left out."""
        while (item := self._queue.peek()) is not None:
            if self._stands(item):
                return self._jobs[item[1]]
            self._queue.pop()
        return None

    def _unpark(self, without: Collection[str]) -> None:
        if self._parked:
            for job_id in [job_id for job_id in self._parked if job_id not in without]:
                job = self._parked.pop(job_id)
                self._queue.push((cast("float", job._due), job_id))

    def _items_until(self, until: float) -> Iterator[tuple[float, str]]:
        """Yield what is due, by walking only the part of the heap that is."""
        yield from (
            (job._due, job_id)
            for job_id, job in self._parked.items()
            if job._due is not None and job._due <= until
        )
        yield from {item for item in self._queue.until(until) if self._stands(item)}


def _freed(job: Job) -> Job:
    job._incarnation = ""
    return job


def _by_next_run_time(job: Job) -> tuple[bool, float, str]:
    return job._due is None, job._due or 0.0, job.id
