"""The face of a scheduler that tells of Runs, and of those who run them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from apscheduler.clock import UTC
from apscheduler.jobstores.base import (
    ClaimingJobStore,
    JobLookupError,
    SharedJobStore,
    UnreadableJobError,
)
from apscheduler.runs import Run, RunQuery, RunState
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers._core import SchedulerCore
from apscheduler.schedulers._finding import check_limit
from apscheduler.util import convert_to_datetime

if TYPE_CHECKING:
    from apscheduler.job import Job
    from apscheduler.nodes import Node


class RunMethods(SchedulerCore):
    """History, explanation, manual runs and nodes."""

    _lookup_job: Callable[[str, str | None], tuple[Job, str | None]]

    def get_runs(
        self,
        job_id: str | None = None,
        state: RunState | str | None = None,
        since: datetime | str | None = None,
        limit: int = 100,
        *,
        until: datetime | str | None = None,
        node: str | None = None,
        after: Run | None = None,
    ) -> list[Run]:
        """Return what has run, is running, or was not run, the newest first.

        A stopped scheduler knows only of Runs that are kept in its memory.

        :param job_id: only Runs of this job; they are kept when the job is gone
        :param state: only Runs in this state, such as ``"failed"``
        :param since: only Runs that were scheduled at or after this moment; without a time zone
            it is taken in that of the scheduler
        :param limit: how many at most
        :param until: only Runs that were scheduled at or before this moment
        :param node: only Runs of the node by this id
        :param after: only what comes after this Run: the last one of the page before
        :raises ValueError: if there is no such state, or ``limit`` is not positive
        :raises TypeError: if a value is of the wrong type
        """
        if job_id is not None and not isinstance(job_id, str):
            raise TypeError(f"job_id must be a string or None, got {job_id!r}")
        check_limit(limit)
        if node is not None and not isinstance(node, str):
            raise TypeError(f"node must be the id of a node or None, got {node!r}")
        if after is not None and not isinstance(after, Run):
            raise TypeError(
                f"after must be a Run, the last one of the page before, or None, got {after!r}"
            )
        query = RunQuery(
            job_id,
            None if state is None else _run_state(state),
            self._moment("since", since),
            limit,
            self._moment("until", until),
            node,
            after,
        )
        # What has begun on this node is known here first.
        ours = {run.id: run for run in self._loop.runner.running()}
        runs = [
            ours.get(run.id, run) if run.state is RunState.RUNNING else run
            for store in self._keepers()
            for run in store.get_runs(query)
        ]
        runs.sort(key=lambda run: (run.opened_at, run.id), reverse=True)
        return runs[:limit]

    def explain(self, job_id: str, at: datetime | str | None = None) -> str:
        """Say in one sentence what became of a job's run time, or what is next for the job.

        :param job_id: id of the job, which need not exist any more
        :param at: the run time that is asked about; without a time zone it is taken in that of
            the scheduler. Leave it out to ask about the latest one
        :raises JobLookupError: if nothing is known of such a job
        """
        moment = self._moment("at", at)
        job: Job | None = None
        unreadable: UnreadableJobError | None = None
        try:
            job = self._lookup_job(job_id, None)[0]
        except JobLookupError:
            pass
        except UnreadableJobError as error:
            unreadable = error
        runs = self.get_runs(job_id, limit=10_000)
        if unreadable is not None and not (moment and _is_answered(moment, runs)):
            return f"{unreadable}."
        changes = [change for store in self._keepers() for change in store.get_changes(job_id)]
        if job is None and not runs and not changes:
            raise JobLookupError(job_id)
        from apscheduler._explain import explain

        return explain(job_id, job, runs, changes, moment, self._clock.now())

    def _keepers(self) -> list[ClaimingJobStore]:
        """Return the job stores that can be asked what was: of a stopped scheduler, no database.

        Their tables may not be there yet.
        """
        stores = [self._seam(alias) for alias in list(self._jobstores)]
        if self._is_stopped():
            return [store for store in stores if not store.blocking]
        return stores

    def _moment(self, name: str, given: datetime | str | None) -> datetime | None:
        try:
            moment = convert_to_datetime(given, self.timezone, name)
            # Two times of one zone are compared by their wall clocks.
            return None if moment is None else moment.astimezone(UTC)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"{name} must be a datetime, a text such as 2026-03-01 14:30:00, or None, got "
                f"{given!r}"
            ) from error

    def run_now(self, job_id: str, jobstore: str | None = None) -> Run:
        """Run a job once, now, beside its schedule; works also while the job is paused.

        :param job_id: id of the job
        :param jobstore: alias of its job store; by default all are searched
        :return: the Run: `running`; `waiting` for another scheduler, if this one is a client or
            lacks the executor; or `skipped`, if ``max_instances`` runs of the job are live already
        :raises JobLookupError: if there is no such job
        :raises UnreadableJobError: if the job cannot be read here
        :raises SchedulerNotRunningError: if the scheduler is not started
        """
        if self._is_stopped():
            raise SchedulerNotRunningError
        _, alias = self._lookup_job(job_id, jobstore)
        if alias is None:
            raise JobLookupError(job_id)
        return self._loop.run_now(alias, job_id)

    def nodes(self, jobstore: str | None = None) -> list[Node]:
        """Return the schedulers that share job stores, this one among them, the oldest first.

        Those that are dead are listed until another one has noticed it.

        :param jobstore: alias of the only job store to ask
        :raises SchedulerNotRunningError: if the scheduler is not started
        """
        if self._is_stopped():
            raise SchedulerNotRunningError
        nodes: dict[str, Node] = {}
        for alias in [alias for alias in list(self._jobstores) if jobstore in (None, alias)]:
            store = self._seam(alias)
            if isinstance(store, SharedJobStore):
                nodes.update((node.id, node) for node in store.get_nodes())
        return sorted(nodes.values(), key=lambda node: (node.since, node.id))


def _is_answered(moment: datetime, runs: Iterable[Run]) -> bool:
    """Tell whether one of some Runs is about a moment."""
    return any(run.first_scheduled_at <= moment <= run.scheduled_at for run in runs)


def _run_state(state: RunState | str) -> RunState:
    try:
        return RunState(state)
    except ValueError:
        known = ", ".join(RunState)
        raise ValueError(f"state must be one of {known}, got {state!r}") from None
