"""What the runner hands to executors, and what it writes when that has ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from apscheduler.runs import Outcome, Run, RunState, Transition

if TYPE_CHECKING:
    from apscheduler._runner import Runner
    from apscheduler.clock import Clock
    from apscheduler.job import Job
    from apscheduler.jobstores.base import ClaimingJobStore


class Work:
    """One submission: what an executor gets, and through which it answers."""

    __slots__ = ("_runner", "_runs", "alias", "job", "store")

    def __init__(
        self, runner: Runner, store: ClaimingJobStore, alias: str, job: Job, runs: Sequence[Run]
    ) -> None:
        self._runner = runner
        self.store = store
        self.alias = alias
        self.job = job
        # A tuple of one would be one more object for the garbage collector to look at.
        self._runs = runs[0] if len(runs) == 1 else runs

    @property
    def runs(self) -> Sequence[Run]:
        return (self._runs,) if isinstance(self._runs, Run) else self._runs

    def note(self, runs: dict[str, Run]) -> None:
        """Add what is to be run."""
        only = self._runs
        if isinstance(only, Run):
            runs[only.id] = only
        else:
            runs.update((run.id, run) for run in only)

    @property
    def clock(self) -> Clock:
        return self._runner._house._clock

    def begin(self, run: Run) -> Run | None:
        return self._runner.begin(self, run)

    def begins_with_a_write(self, run: Run) -> bool:
        """Tell whether `begin` may keep the caller waiting: an event loop must not be."""
        return self.store.blocking and run.state is RunState.WAITING

    def finish(self, run: Run, outcome: Outcome) -> None:
        self._runner.finished(self, run, outcome)


def runs_of(works: Iterable[Work]) -> dict[str, Run]:
    """Return what works are to run, by id."""
    runs: dict[str, Run] = {}
    for work in works:
        work.note(runs)
    return runs


class End:
    """The end of a Run that is still to be written."""

    __slots__ = ("again", "outcome", "told", "transition", "work")

    def __init__(self, work: Work, transition: Transition, outcome: Outcome, told: bool) -> None:
        self.work = work
        self.transition = transition
        self.outcome = outcome
        #: Whether the listeners know already.
        self.told = told
        #: Whether a write has failed, and may have been carried out all the same.
        self.again = False
