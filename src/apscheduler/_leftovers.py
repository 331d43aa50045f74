"""What a failing job store has not taken, or has taken without our knowing it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from apscheduler import _engine
from apscheduler._house import House, Voice
from apscheduler._runner import Runner
from apscheduler._troubles import Troubles
from apscheduler._work import Work
from apscheduler.clock import SystemClock
from apscheduler.runs import JobChange, Run, RunKind, RunQuery, RunState

if TYPE_CHECKING:
    from apscheduler._company import Company
    from apscheduler.jobstores.base import ClaimingJobStore


class Turns(Protocol):
    """Who takes the turns in which it is made good."""

    runner: Runner
    company: Company
    troubles: Troubles


class Leftovers:
    """Writes what was left over, and runs what was claimed, once a store answers again."""

    def __init__(self, house: House, voice: Voice, turns: Turns) -> None:
        self._house = house
        self._voice = voice
        self._turns = turns
        self._changes: dict[str, list[JobChange]] = {}

    def note(self, alias: str, change: JobChange) -> None:
        """Keep a change of a job that was carried out; never raises."""
        try:
            self._house._seam(alias).note(change)
        except Exception as error:
            self._changes.setdefault(alias, []).append(change)
            self._voice.log(
                logging.WARNING,
                'That job "%s" was %s is not on record yet: %s',
                change.job_id,
                change.kind,
                error,
            )

    def make_good(
        self, store: ClaimingJobStore, alias: str, is_opening: Callable[[], bool]
    ) -> None:
        """Write what is left over, and take up what the store did unknown to us.

        :param is_opening: tells whether a Run is being opened by hand: it looks like one that
            nobody has taken up
        """
        # Not here, where a listener could hold up what is due, if there is a thread for it.
        waits = store.blocking and isinstance(self._house._clock, SystemClock)
        self._turns.runner.write_left_over(alias, tell=not waits)
        changes = self._changes.get(alias)
        while changes:
            store.note(changes[0])
            del changes[0]
        if alias in self._turns.troubles.unsure and self._take_up(store, alias, is_opening):
            self._turns.troubles.unsure.discard(alias)

    def _take_up(
        self, store: ClaimingJobStore, alias: str, is_opening: Callable[[], bool]
    ) -> bool:
        """Run what was claimed by a call of the store that failed all the same.

        Return whether it is known what that is.
        """
        runner, batches = self._turns.runner, dict[str, list[Run]]()
        node = self._turns.company.node_of(alias)
        # What ends between the question and a look at what runs here would be run again.
        with runner.seeing() as seen:
            if is_opening():
                return False
            found = [
                run
                for state in (RunState.RUNNING, RunState.WAITING)
                for run in store.get_runs(RunQuery(state=state, limit=sys.maxsize, node=node))
            ]
            if is_opening():
                return False
            for run in found:
                if run.id not in seen and not run.attention_at:
                    batches.setdefault(run.batch, []).append(run)
        for runs in batches.values():
            runs.sort(key=lambda run: run.id)
            job = runs[0].definition or store.lookup_job(runs[0].job_id)
            if job is None or runs[0].kind is RunKind.MANUAL:
                # Whoever asked for it was told that it failed.
                now, reason = self._house._clock.now(), "the answer of its job store was lost"
                store.apply([_engine.cancel(now, run, reason) for run in runs])
            else:
                runner.submit(Work(runner, store, alias, job, runs))
        return True
