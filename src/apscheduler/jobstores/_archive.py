"""Ended Runs, kept in memory and bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, cast

from apscheduler.runs import Run, RunKind, RunState, Transition

RUNS_PER_JOB = 100
RUNS_IN_ALL = 10_000

# A Run as a plain tuple of its fields, states and kinds as text. The garbage collector need not
# look at such a tuple, and among a hundred thousand jobs that is most of what keeping Runs costs.
Packed = tuple[Any, ...]
ID, JOB_ID, _STATE = 0, 1, 2

_SUCCESSES = frozenset({RunState.SUCCEEDED.value})
_FAILURES = frozenset({RunState.FAILED.value, RunState.TIMED_OUT.value, RunState.LOST.value})
_REMEMBERED = _SUCCESSES | _FAILURES


class _History:
    """The ended Runs of one job, oldest first, and its last success and failure."""

    __slots__ = ("ended", "failure", "success")

    def __init__(self) -> None:
        self.ended: list[Packed] = []
        self.success: Packed | None = None
        self.failure: Packed | None = None

    def add(self, packed: Packed) -> None:
        self.ended.append(packed)
        self.remember(packed)

    def remember(self, packed: Packed) -> None:
        if packed[_STATE] in _SUCCESSES:
            self.success = packed
        elif packed[_STATE] in _FAILURES:
            self.failure = packed

    def __iter__(self) -> Iterator[Packed]:
        for last in (self.success, self.failure):
            if last is not None and last not in self.ended:
                yield last
        yield from self.ended


class Archive:
    """Ended Runs: so many for each job, so many in all, and always the last success and failure.

    :param is_stored: tells whether a job still exists; only for those the last success and
        failure are kept whatever happened since
    """

    def __init__(self, is_stored: Callable[[str], bool]) -> None:
        self._is_stored = is_stored
        # The job of each Run that counts, oldest first. Where a job has had too many, that of its
        # oldest stands there yet; how many of a job do is in `_gone`.
        self._order: deque[str] = deque()
        self._gone: dict[str, int] = {}
        self._gone_in_all = 0
        # Most jobs of many have ended once or never: for one Run there is no history.
        self._by_job: dict[str, Packed | _History] = {}
        # Of these jobs that one Run counts no longer.
        self._outlasted: dict[str, Packed] = {}

    def add(self, packed: Packed) -> None:
        """Keep an ended Run, in place of the oldest one if need be."""
        job_id = packed[JOB_ID]
        self._order.append(job_id)
        known = self._by_job.setdefault(job_id, packed)
        if known is not packed or job_id in self._outlasted:
            self._add_another(job_id, packed, known)
        if len(self._order) - self._gone_in_all > RUNS_IN_ALL:
            self._drop_oldest()

    def of_job(self, job_id: str) -> list[Run]:
        """Return the Runs of one job."""
        known = self._by_job.get(job_id) or self._outlasted.get(job_id, ())
        if isinstance(known, tuple):
            return [_unpack(known)] if known else []
        return [_unpack(packed) for packed in known]

    def __iter__(self) -> Iterator[Run]:
        for job_id in [*self._by_job, *self._outlasted]:
            yield from self.of_job(job_id)

    def job_removed(self, job_id: str) -> None:
        """Let go of what was kept only because the job existed."""
        self._outlasted.pop(job_id, None)
        known = self._by_job.get(job_id)
        if isinstance(known, _History):
            if known.ended:
                known.success = known.failure = None
            else:
                del self._by_job[job_id]

    def _add_another(self, job_id: str, packed: Packed, known: Packed | _History) -> None:
        """Keep a Run of a job of which others are known."""
        if isinstance(known, tuple):
            history = _History()
            if known is packed:
                history.remember(self._outlasted.pop(job_id))
            else:
                history.add(known)
            known = self._by_job[job_id] = history
        known.add(packed)
        if len(known.ended) > RUNS_PER_JOB:
            del known.ended[0]
            self._gone[job_id] = self._gone.get(job_id, 0) + 1
            self._gone_in_all += 1
            if self._gone_in_all > RUNS_IN_ALL:
                self._sort_out()

    def _sort_out(self) -> None:
        """Leave out of the order what is gone."""
        gone, order = self._gone, self._order
        self._gone, self._gone_in_all, self._order = {}, 0, deque()
        for job_id in order:
            # Within a job, too, Runs are kept in the order in which they ended.
            if left := gone.get(job_id):
                gone[job_id] = left - 1
            else:
                self._order.append(job_id)

    def _drop_oldest(self) -> None:
        job_id = self._order.popleft()
        while left := self._gone and self._gone.pop(job_id, 0):
            if left > 1:
                self._gone[job_id] = left - 1
            self._gone_in_all -= 1
            job_id = self._order.popleft()
        known = self._by_job[job_id]
        if isinstance(known, tuple):
            del self._by_job[job_id]
            if known[_STATE] in _REMEMBERED and self._is_stored(job_id):
                self._outlasted[job_id] = known
        else:
            del known.ended[0]
            if known.ended:
                return
            if not ((known.success or known.failure) and self._is_stored(job_id)):
                del self._by_job[job_id]


def packed(run: Run) -> Packed:
    """Return an ended Run as a tuple."""
    return (
        run.id,
        run.job_id,
        run.state._value_,  # as `value`, which is a Python property
        run.kind._value_,
        run.scheduled_at,
        run.first_scheduled_at,
        run.opened_at,
        run.batch,
        run.job_name,
        run.jobstore,
        run.executor,
        run.node,
        run.incarnation,
        run.count,
        run.attempt,
        run.attention_at,
        run.started_at,
        run.ended_at,
        run.reason,
        run.error,
    )


def packed_after(run: Run, transition: Transition) -> Packed:
    """Return ``packed(moved(run, transition))`` for one that ends, without making that Run."""
    return (
        run.id,
        run.job_id,
        transition.after._value_,
        run.kind._value_,
        run.scheduled_at,
        run.first_scheduled_at,
        run.opened_at,
        run.batch,
        run.job_name,
        run.jobstore,
        run.executor,
        run.node,
        run.incarnation,
        run.count,
        run.attempt,
        None,
        transition.started_at or run.started_at,
        transition.ended_at,
        transition.reason,
        transition.error,
    )


def _unpack(packed: Packed) -> Run:
    run_id, job_id, state, kind, *rest = packed
    return Run(cast("str", run_id), cast("str", job_id), RunState(state), RunKind(kind), *rest)
