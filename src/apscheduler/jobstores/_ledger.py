"""Runs and changes of jobs, kept in memory and bounded."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from heapq import heappop, heappush, nlargest
from threading import Lock
from typing import TYPE_CHECKING

from apscheduler.runs import (
    LIVE_STATES,
    NOTHING_LIVE,
    JobChange,
    Live,
    Run,
    RunQuery,
    RunState,
    Transition,
    moved,
    replace,
)

if TYPE_CHECKING:
    from apscheduler.job import Job

RUNS_PER_JOB = 100
RUNS_IN_ALL = 10_000
CHANGES_IN_ALL = 10_000

_FAILURES = frozenset({RunState.FAILED, RunState.TIMED_OUT, RunState.LOST})


class _History:
    """The ended Runs of one job, oldest first, and its last success and failure."""

    __slots__ = ("ended", "failure", "success")

    def __init__(self) -> None:
        self.ended: list[Run] = []
        self.success: Run | None = None
        self.failure: Run | None = None

    def __iter__(self) -> Iterator[Run]:
        for last in (self.success, self.failure):
            if last is not None and last not in self.ended:
                yield last
        yield from self.ended


class Ledger:
    """What a store in memory knows of Runs.

    :param is_stored: tells whether a job still exists; the last success and failure of those
        jobs are kept whatever happened since
    """

    def __init__(self, is_stored: Callable[[str], bool]) -> None:
        self._is_stored = is_stored
        self._lock = Lock()
        self._live: dict[str, dict[str, Run]] = {}
        self._attention: list[tuple[datetime, str, str]] = []
        self._histories: dict[str, _History] = {}
        self._ended: OrderedDict[str, Run] = OrderedDict()
        self._changes: deque[JobChange] = deque(maxlen=CHANGES_IN_ALL)

    def live(self, job_id: str) -> Live:
        """Return what of a job is live."""
        runs = self._live.get(job_id)
        if not runs:
            return NOTHING_LIVE
        with self._lock:
            return Live(
                len({run.batch for run in runs.values()}),
                max((run.opened_at for run in runs.values()), default=None),
            )

    def record(self, runs: Iterable[Run]) -> None:
        """Keep new Runs, live or ended."""
        with self._lock:
            for run in runs:
                if run.state in LIVE_STATES:
                    self._open(run)
                else:
                    self._close(run)

    def apply(self, transition: Transition) -> Run | None:
        """Carry out a transition; return the Run as it then is, or None if it was refused."""
        run = transition.run
        with self._lock:
            live = self._live.get(run.job_id)
            kept = live.get(run.id) if live else None
            if live is None or kept is None or kept.state is not run.state:
                return None
            after = moved(kept, transition)
            if after.state in LIVE_STATES:
                live[run.id] = after
            else:
                del live[run.id]
                self._close(after)
            if transition.follow_up is not None:
                self._open(transition.follow_up)
            if not live:
                del self._live[run.job_id]
            return after

    def start_waiting(
        self,
        now: datetime,
        decide: Callable[[Run, Job | None], Transition],
        limit: int,
        lookup_job: Callable[[str], Job | None],
    ) -> list[tuple[Run, Job]]:
        """Decide about the waiting Runs that need attention; return those that were started."""
        won: list[tuple[Run, Job]] = []
        while len(won) < limit:
            with self._lock:
                entry = self._peek()
                if entry is None or entry[0] > now:
                    break
                run = self._live[entry[2]][entry[1]]
            job = run.definition or lookup_job(run.job_id)
            after = self.apply(decide(run, job))
            if after is not None and after.state is RunState.RUNNING and job is not None:
                won.append((after, job))
        return won

    def next_attention(self) -> datetime | None:
        """Return when the next waiting Run needs attention."""
        with self._lock:
            found = self._peek()
        return found[0] if found else None

    def query(self, query: RunQuery) -> list[Run]:
        """Return copies of Runs, the newest first."""
        with self._lock:
            if query.job_id is None:
                runs = [run for live in self._live.values() for run in live.values()]
                runs += [run for history in self._histories.values() for run in history]
            else:
                runs = list(self._live.get(query.job_id, {}).values())
                runs += self._histories.get(query.job_id, ())
            found = nlargest(
                query.limit,
                (
                    run
                    for run in runs
                    if (query.state is None or run.state is query.state)
                    and (query.since is None or run.scheduled_at >= query.since)
                ),
                key=lambda run: (run.opened_at, run.id),
            )
            return [replace(run) for run in found]

    def note(self, change: JobChange) -> None:
        self._changes.append(change)

    def changes(self, job_id: str) -> list[JobChange]:
        return [change for change in tuple(self._changes) if change.job_id == job_id]

    def job_removed(self, job_id: str) -> None:
        """Let go of what was kept only because the job existed."""
        with self._lock:
            history = self._histories.get(job_id)
            if history is not None and not history.ended:
                del self._histories[job_id]

    def _open(self, run: Run) -> None:
        self._live.setdefault(run.job_id, {})[run.id] = run
        if run.attention_at is not None:
            heappush(self._attention, (run.attention_at, run.id, run.job_id))

    def _close(self, run: Run) -> None:
        history = self._histories.get(run.job_id)
        if history is None:
            history = self._histories[run.job_id] = _History()
        history.ended.append(run)
        self._ended[run.id] = run
        if run.state is RunState.SUCCEEDED:
            history.success = run
        elif run.state in _FAILURES:
            history.failure = run

        if len(history.ended) > RUNS_PER_JOB:
            del self._ended[history.ended.pop(0).id]
        elif len(self._ended) > RUNS_IN_ALL:
            _, oldest = self._ended.popitem(last=False)
            history = self._histories[oldest.job_id]
            # Within a job, too, Runs are kept in the order in which they ended.
            del history.ended[0]
            if not history.ended and not self._is_stored(oldest.job_id):
                del self._histories[oldest.job_id]

    def _peek(self) -> tuple[datetime, str, str] | None:
        """Return the earliest entry of the attention heap that still stands."""
        while self._attention:
            entry = self._attention[0]
            run = self._live.get(entry[2], {}).get(entry[1])
            if run is not None and run.state is RunState.WAITING:
                return entry
            heappop(self._attention)
        return None
