"""Jobs in memory: the objects themselves, in a dict and a heap."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
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


class _Entry:
    """A job and what is known beside it.

    ``due`` is the timestamp of its next run time, None while it is paused or once it is gone.
    ``version`` grows with every write: it is the ground of a decision.
    """

    __slots__ = ("born", "due", "incarnation", "job", "last_slot", "version")

    def __init__(self, job: Job, born: datetime | None, incarnation: str) -> None:
        self.job = job
        self.born = born
        self.incarnation = incarnation
        self.due: float | None = None
        self.last_slot: datetime | None = None
        self.version = 0


class MemoryJobStore(ClaimingJobStore):
    """Keeps jobs in this process, and forgets them when it is shut down.

    Jobs are not copied: `lookup_job` answers with the object that was added, and what a job's
    function does to its arguments stays. Adding, changing and claiming a job cost O(log n).
    """

    def __init__(self) -> None:
        super().__init__()
        self._entries: dict[str, _Entry] = {}
        # Times and ids. Lazy deletion: an item stands only while its time is that of its entry.
        self._queue = DueQueue()
        # Due jobs that were not to be asked about, so that they do not block the heap's top.
        self._parked: dict[str, _Entry] = {}
        self._lock = RLock()
        self._incarnations = count(1)
        self._ledger = Ledger(self._entries.__contains__)

    def shutdown(self) -> None:
        self.remove_all_jobs()

    def lookup_job(self, job_id: str) -> Job | None:
        entry = self._entries.get(job_id)
        return entry.job if entry else None

    def get_due_jobs(self, now: datetime) -> list[Job]:
        with self._lock:
            due = sorted(self._items_until(now.timestamp()))
            return [self._entries[job_id].job for _, job_id in due]

    def get_next_run_time(self) -> datetime | None:
        with self._lock:
            entries = list(self._parked.values())
            if (top := self._top()) is not None:
                entries.append(top)
            return min(entries, key=_by_next_run_time).job.next_run_time if entries else None

    def get_all_jobs(self) -> list[Job]:
        with self._lock:
            entries = sorted(self._entries.values(), key=_by_next_run_time)
        return [entry.job for entry in entries]

    def add_job(self, job: Job, born: datetime | None = None) -> None:
        with self._lock:
            if job.id in self._entries:
                raise ConflictingIdError(job.id)
            entry = _Entry(job, born, self._new_incarnation())
            self._entries[job.id] = entry
            self._schedule(entry)

    def update_job(self, job: Job, born: datetime | None = None) -> None:
        with self._lock:
            entry = self._entry(job.id)
            entry.job = job
            self._changed(entry, born)

    def modify_job(
        self, job_id: str, change: Callable[[Job], None], born: datetime | None = None
    ) -> Job:
        with self._lock:
            entry = self._entry(job_id)
            change(entry.job)
            self._changed(entry, born)
            return entry.job

    def remove_job(self, job_id: str) -> None:
        with self._lock:
            self._delete(self._entry(job_id))
        self._ledger.job_removed(job_id)

    def remove_all_jobs(self) -> None:
        with self._lock:
            removed = list(self._entries)
            for entry in self._entries.values():
                entry.due = None
                entry.version += 1
            self._entries.clear()
            self._queue.clear()
            self._parked.clear()
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
        while len(won) < limit:
            with self._lock:
                in_hand = self._take(until, limit - len(won), without)
            if not in_hand:
                break
            plans: list[Plan | None] = []
            try:
                for _, _, due in in_hand:
                    plans.append(decide(due))
            finally:
                with self._lock:
                    won += self._write(in_hand, plans)
        return Claims(won)

    def claim_waiting(
        self, now: datetime, decide: Callable[[Run, Job | None], Transition], limit: int
    ) -> list[tuple[Run, Job]]:
        return self._ledger.start_waiting(now, decide, limit, self.lookup_job)

    def open_run(self, job_id: str, decide: Callable[[Job, str, Live], Run]) -> tuple[Run, Job]:
        with self._lock:
            entry = self._entry(job_id)
            run = decide(entry.job, entry.incarnation, self._ledger.live(job_id))
            self._ledger.record((run,))
            entry.version += 1
            return run, entry.job

    def apply(self, transitions: Sequence[Transition]) -> list[Run | None]:
        return [self._ledger.apply(transition) for transition in transitions]

    def next_wake(self, without: Collection[str]) -> datetime | None:
        attention = self._ledger.next_attention()
        with self._lock:
            self._unpark(without)
            while (entry := self._top()) is not None and entry.job.id in without:
                self._park(entry)
        if entry is None:
            return attention
        due = cast("datetime", entry.job.next_run_time)
        return due if attention is None else min(due, attention)

    def get_runs(self, query: RunQuery) -> list[Run]:
        return self._ledger.query(query)

    def note(self, change: JobChange) -> None:
        self._ledger.note(change)

    def get_changes(self, job_id: str) -> list[JobChange]:
        return self._ledger.changes(job_id)

    def _entry(self, job_id: str) -> _Entry:
        try:
            return self._entries[job_id]
        except KeyError:
            raise JobLookupError(job_id) from None

    def _new_incarnation(self) -> str:
        return f"{next(self._incarnations):x}"

    def _changed(self, entry: _Entry, born: datetime | None) -> None:
        if born is not None:
            entry.born = born
            entry.incarnation = self._new_incarnation()
            entry.last_slot = None
        self._schedule(entry)

    def _take(
        self, until: float, limit: int, without: Collection[str]
    ) -> list[tuple[_Entry, int, Due]]:
        """Take due entries from the heap, with the versions at which they were read."""
        taken: list[tuple[_Entry, int, Due]] = []
        self._queue.prepare(until)
        while len(taken) < limit:
            entry = self._top()
            if entry is None or entry.due is None or entry.due > until:
                break
            self._queue.pop()
            job = entry.job
            if job.id in without:
                self._parked[job.id] = entry
                continue
            if job.next_run_time is None or job.next_run_time.timestamp() != entry.due:
                # Somebody has changed the object, which is also his, and told nobody.
                self._schedule(entry)
                continue
            live = self._ledger.live(job.id)
            due = Due(job, job.next_run_time, entry.incarnation, entry.born, entry.last_slot, live)
            taken.append((entry, entry.version, due))
        return taken

    def _write(
        self, in_hand: list[tuple[_Entry, int, Due]], plans: list[Plan | None]
    ) -> list[tuple[Due, Plan]]:
        """Carry out those decisions whose ground still stands, and put back what was in hand."""
        won: list[tuple[Due, Plan]] = []
        runs: list[Run] = []
        for (entry, version, due), plan in zip_longest(in_hand, plans):
            if entry.version != version:
                # Its ground has moved. If it is still to run, it is taken and decided anew.
                if entry.due is not None:
                    self._queue.push((entry.due, entry.job.id))
            elif plan is None:
                self._park(entry)
            else:
                won.append((due, plan))
                runs += plan.opened
                runs += plan.closed
                if plan.next_run_time is None:
                    self._delete(entry)
                else:
                    entry.last_slot = plan.last_slot
                    entry.job.next_run_time = plan.next_run_time
                    self._schedule(entry)
        self._ledger.record(runs)
        return won

    def _delete(self, entry: _Entry) -> None:
        del self._entries[entry.job.id]
        self._parked.pop(entry.job.id, None)
        entry.due = None
        entry.version += 1

    def _schedule(self, entry: _Entry) -> None:
        """Put a job where its next run time belongs."""
        entry.version += 1
        was_parked = self._parked.pop(entry.job.id, None)
        next_run_time = entry.job.next_run_time
        due = None if next_run_time is None else next_run_time.timestamp()
        if due == entry.due and not was_parked:
            return
        entry.due = due
        if due is None:
            return
        self._queue.push((due, entry.job.id))
        if len(self._queue) > 2 * len(self._entries) + 64:
            self._queue.keep(self._stands)

    def _stands(self, item: tuple[float, str]) -> bool:
        entry = self._entries.get(item[1])
        return entry is not None and entry.due == item[0] and item[1] not in self._parked

    def _top(self) -> _Entry | None:
        """Return the entry that is due first, parked ones left out."""
        while (item := self._queue.peek()) is not None:
            if self._stands(item):
                return self._entries[item[1]]
            self._queue.pop()
        return None

    def _park(self, entry: _Entry) -> None:
        self._parked[entry.job.id] = entry

    def _unpark(self, without: Collection[str]) -> None:
        for job_id in [job_id for job_id in self._parked if job_id not in without]:
            entry = self._parked.pop(job_id)
            self._queue.push((cast("float", entry.due), job_id))

    def _items_until(self, until: float) -> Iterator[tuple[float, str]]:
        """Yield what is due, by walking only the part of the heap that is."""
        yield from (
            (entry.due, job_id)
            for job_id, entry in self._parked.items()
            if entry.due is not None and entry.due <= until
        )
        yield from {item for item in self._queue.until(until) if self._stands(item)}


def _by_next_run_time(entry: _Entry) -> tuple[bool, float, str]:
    return entry.due is None, entry.due or 0.0, entry.job.id
