"""Runs and changes of jobs, kept in memory and bounded."""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from datetime import datetime
from heapq import heappop, heappush, nlargest
from threading import RLock
from typing import TYPE_CHECKING, cast

from apscheduler.jobstores._archive import ID, JOB_ID, Archive, Packed, packed, packed_after
from apscheduler.runs import (
    LIVE_STATES,
    NOTHING_LIVE,
    JobChange,
    Live,
    Run,
    RunKind,
    RunQuery,
    RunState,
    Transition,
    moved,
)

if TYPE_CHECKING:
    from apscheduler.job import Job

#: How many changes are kept of a job, and of how many jobs.
CHANGES_PER_JOB, JOBS_WITH_CHANGES = 100, 1_000
#: How many ended Runs wait to be filed, unless somebody else is at it.
MAX_UNFILED = 250
#: How many are filed before somebody else gets a turn: of an event loop, nobody may hold it up.
FILED_AT_ONCE = 1_000


class Ledger:
    """What a store in memory knows of Runs.

    Runs are opened under a lock, but end without one: a lock that each worker takes for each Run
    makes the workers queue for it, and costs more than the Run. So a Run ends by being taken out
    of `_live`, which only one thread can do, and is filed later, with others: when nothing is live
    any more, or when they are too many.

    :param is_stored: tells whether a job still exists; the last success and failure of those
        jobs are kept whatever happened since
    """

    def __init__(self, is_stored: Callable[[str], bool]) -> None:
        self._lock = RLock()
        self._live: dict[str, Run] = {}
        # Nearly every job has one live Run at most: only of several there is a dict.
        self._live_of_job: dict[str, Run | dict[str, Run]] = {}
        # Packed at once: three objects for each would be in the garbage collector's way.
        self._unfiled: deque[Packed] = deque()
        self._attention: list[tuple[datetime, str]] = []
        self._archive = Archive(is_stored)
        # The job that was changed last comes last.
        self._changes: OrderedDict[str, deque[JobChange]] = OrderedDict()

    def live(self, job_id: str) -> Live:
        """Return what of a job is live."""
        if job_id not in self._live_of_job:
            return NOTHING_LIVE
        runs = self._live_runs(job_id)
        slots = [run.opened_at for run in runs if run.kind is RunKind.SLOT]
        return Live(len({run.batch for run in runs}), max(slots, default=None))

    def record(self, runs: Iterable[Run]) -> None:
        """Keep new Runs, live or ended."""
        with self._lock:
            for run in runs:
                if run.state in LIVE_STATES:
                    self._open(run)
                else:
                    self._keep(run)

    def apply(self, transition: Transition) -> bool:
        """Carry out a transition; return whether it was carried out, or refused."""
        before = transition.run
        if transition.after in LIVE_STATES or transition.follow_up is not None:
            with self._lock:
                return self._replace(before, transition)
        kept = self._take(before)
        if kept is None:
            return False
        unfiled = self._unfiled
        unfiled.append(packed_after(kept, transition))
        if len(unfiled) > MAX_UNFILED or not self._live:
            self._file_some()
        return True

    def start_waiting(
        self,
        now: datetime,
        decide: Callable[[Run, Job | None], Transition],
        limit: int,
        lookup_job: Callable[[str], Job | None],
    ) -> list[tuple[Run, Job]]:
        """Decide about the waiting Runs that need attention; return those that were started."""
        won: list[tuple[Run, Job]] = []
        if not self._attention:  # nearly always
            return won
        while len(won) < limit:
            with self._lock:
                run = self._first_to_attend()
            if run is None or run.attention_at is None or run.attention_at > now:
                break
            job = run.definition or lookup_job(run.job_id)
            transition = decide(run, job)
            starts = transition.after is RunState.RUNNING and job is not None
            if self.apply(transition) and starts:
                won.append((moved(run, transition), cast("Job", job)))
        return won

    def next_attention(self) -> datetime | None:
        """Return when the next waiting Run needs attention."""
        if not self._attention:
            return None
        with self._lock:
            run = self._first_to_attend()
        return run.attention_at if run else None

    def query(self, query: RunQuery) -> list[Run]:
        """Return Runs, the newest first."""
        job_id = query.job_id
        with self._lock:
            # Before those that have ended: they end without a lock, and are in both places then.
            live = list(self._live.values()) if job_id is None else self._live_runs(job_id)
            self._file()
            ended = list(self._archive) if job_id is None else self._archive.of_job(job_id)
        known = {run.id for run in ended} if live else ()
        runs = [*(run for run in live if run.id not in known), *ended]
        return nlargest(
            query.limit,
            (run for run in runs if query.wants(run)),
            key=lambda run: (run.opened_at, run.id),
        )

    def note(self, change: JobChange) -> None:
        """Keep a change of a job."""
        with self._lock:
            known = self._changes.get(change.job_id)
            if known is None:
                known = self._changes[change.job_id] = deque(maxlen=CHANGES_PER_JOB)
            known.append(change)
            self._changes.move_to_end(change.job_id)
            if len(self._changes) > JOBS_WITH_CHANGES:
                self._changes.popitem(last=False)

    def changes(self, job_id: str) -> list[JobChange]:
        """Return the changes of a job, oldest first."""
        if job_id not in self._changes:
            return []
        with self._lock:
            return list(self._changes.get(job_id, ()))

    def _file_some(self) -> None:
        """Put Runs that have ended where they belong, as many as take no time to speak of."""
        if self._lock.acquire(blocking=not self._live):
            try:
                self._file(FILED_AT_ONCE)
            finally:
                self._lock.release()

    def job_removed(self, job_id: str) -> None:
        """Let go of what was kept only because the job existed."""
        with self._lock:
            self._archive.job_removed(job_id)

    def _open(self, run: Run) -> None:
        self._live[run.id] = run
        known = self._live_of_job.setdefault(run.job_id, run)
        if known is not run:
            if isinstance(known, dict):
                known[run.id] = run
            elif known.id == run.id or known.id not in self._live:
                self._live_of_job[run.job_id] = run
            else:
                self._live_of_job[run.job_id] = {known.id: known, run.id: run}
        if run.attention_at is not None:
            heappush(self._attention, (run.attention_at, run.id))

    def _live_runs(self, job_id: str) -> list[Run]:
        known = self._live_of_job.get(job_id)
        runs = known.values() if isinstance(known, dict) else [known]
        # Those that have ended, but are not filed yet, still stand there.
        return [run for run in list(runs) if run is not None and run.id in self._live]

    def _no_longer_live(self, job_id: str, run_id: str) -> None:
        known = self._live_of_job.get(job_id)
        if isinstance(known, dict):
            known.pop(run_id, None)
            if not known:
                del self._live_of_job[job_id]
        elif known is not None and known.id == run_id:
            del self._live_of_job[job_id]

    def _replace(self, before: Run, transition: Transition) -> bool:
        kept = self._take(before)
        if kept is None:
            return False
        after = moved(kept, transition)
        if transition.follow_up is not None:
            self._open(transition.follow_up)
        if after.state in LIVE_STATES:
            self._open(after)
        else:
            self._no_longer_live(after.job_id, after.id)
            self._keep(after)
        return True

    def _take(self, before: Run) -> Run | None:
        """Take a live Run out, if it is as it was; of several threads only one succeeds."""
        kept = self._live.get(before.id)
        if kept is None or kept.state is not before.state:
            return None
        taken = self._live.pop(before.id, None)
        if taken is not None and taken.state is not before.state:
            # It went on between the look and the grasp.
            self._live[before.id] = taken
            return None
        return taken

    def _keep(self, run: Run) -> None:
        self._file()  # What ended before it comes before it.
        self._archive.add(packed(run))

    def _file(self, at_most: int = sys.maxsize) -> None:
        unfiled, live_of_job, add = self._unfiled, self._live_of_job, self._archive.add
        for _ in range(min(at_most, len(unfiled))):
            ended = unfiled.popleft()
            job_id = ended[JOB_ID]
            known = live_of_job.get(job_id)
            if isinstance(known, dict):
                self._no_longer_live(job_id, ended[ID])
            elif known is not None and known.id == ended[ID]:
                del live_of_job[job_id]
            add(ended)

    def _first_to_attend(self) -> Run | None:
        """Return the waiting Run that needs attention first."""
        while self._attention:
            run = self._live.get(self._attention[0][1])
            if run is not None and run.state is RunState.WAITING:
                return run
            heappop(self._attention)
        return None
