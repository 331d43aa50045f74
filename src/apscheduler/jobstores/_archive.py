"""Ended Runs, kept in memory and bounded."""

from __future__ import annotations

from collections import OrderedDict
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
        # Which Runs count, oldest first, with the ids of their jobs.
        self._order: OrderedDict[str, str] = OrderedDict()
        # Most jobs of many have ended once or never: for one Run there is no history.
        self._by_job: dict[str, Packed | _History] = {}

    def add(self, packed: Packed) -> None:
        """Keep an ended Run, in place of the oldest one if need be."""
        run_id, job_id = packed[ID], packed[JOB_ID]
        known = self._by_job.get(job_id)
        self._order[run_id] = job_id
        if known is None:
            self._by_job[job_id] = packed
        else:
            if isinstance(known, tuple):
                known = self._by_job[job_id] = self._history_of(known)
            known.add(packed)
            if len(known.ended) > RUNS_PER_JOB:
                del self._order[known.ended.pop(0)[ID]]
        if len(self._order) > RUNS_IN_ALL:
            self._drop_oldest()

    def of_job(self, job_id: str) -> list[Run]:
        """Return the Runs of one job."""
        known = self._by_job.get(job_id, ())
        if isinstance(known, tuple):
            return [_unpack(known)] if known else []
        return [_unpack(packed) for packed in known]

    def __iter__(self) -> Iterator[Run]:
        for job_id in list(self._by_job):
            yield from self.of_job(job_id)

    def job_removed(self, job_id: str) -> None:
        """Let go of what was kept only because the job existed."""
        known = self._by_job.get(job_id)
        if isinstance(known, tuple):
            if known[ID] not in self._order:
                del self._by_job[job_id]
        elif known is not None:
            if known.ended:
                known.success = known.failure = None
            else:
                del self._by_job[job_id]

    def _history_of(self, packed: Packed) -> _History:
        history = _History()
        history.remember(packed)
        if packed[ID] in self._order:
            history.ended.append(packed)
        return history

    def _drop_oldest(self) -> None:
        _, job_id = self._order.popitem(last=False)
        known = self._by_job[job_id]
        if isinstance(known, tuple):
            keep = known[_STATE] in _SUCCESSES or known[_STATE] in _FAILURES
        else:
            # Within a job, too, Runs are kept in the order in which they ended.
            del known.ended[0]
            keep = bool(known.ended or known.success or known.failure)
            if known.ended:
                return
        if not (keep and self._is_stored(job_id)):
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
