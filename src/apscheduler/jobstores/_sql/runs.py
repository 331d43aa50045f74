"""Runs as rows: opened, ended, taken over and listed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, literal_column, or_, select, text, true

from apscheduler.job import Job
from apscheduler.jobstores import _pickled
from apscheduler.jobstores._sql.claims import Claimer, definition_of
from apscheduler.jobstores._sql.database import Database
from apscheduler.jobstores._sql.dialects import AT_ONCE
from apscheduler.jobstores._sql.jobs import LEFT_OUT_AT_MOST, Jobs
from apscheduler.jobstores._sql.nodes import Nodes
from apscheduler.jobstores._sql.quarantine import Reader
from apscheduler.jobstores._sql.questions import not_waiting_for_a_moment
from apscheduler.jobstores._sql.rows import (
    RUN_COLUMNS,
    RunRow,
    can_be_id,
    chunks,
    micros,
    micros_or_none,
    moment,
    moment_of_seconds,
    run_of,
    run_row,
    storable,
)
from apscheduler.jobstores._sql.schema import LIVE
from apscheduler.jobstores.base import JobLookupError
from apscheduler.runs import (
    LIVE_STATES,
    NOTHING_LIVE,
    Live,
    Run,
    RunQuery,
    RunState,
    Transition,
    moved,
    replace,
)

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

_NO_LIMIT = 2**31 - 1


class Runs:
    """The Runs of a store.

    :param opened: receives the ids of jobs of which Runs were opened
    """

    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        nodes: Nodes,
        claimer: Claimer,
        reader: Reader,
        alias: str,
        protocol: int,
        opened: set[str],
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._nodes = nodes
        self._claimer = claimer
        self._reader = reader
        self._alias = alias
        self._questions = database.dialect.questions
        self._protocol = protocol
        self._opened = opened

    @property
    def _table(self) -> Table:
        return self._database.tables.runs

    @property
    def _columns(self) -> list[Any]:
        return [self._table.c[name] for name in RUN_COLUMNS if name != "definition"]

    # -- opened and ended -----------------------------------------------------------------------

    def open(self, job_id: str, decide: Callable[[Job, str, Live], Run]) -> tuple[Run, Job]:
        """Open a Run outside of the schedule."""
        while True:
            with self._database.read() as connection:
                row = self._jobs.row(connection, job_id)
                if row is None:
                    raise JobLookupError(job_id)
                live = self._claimer.live(connection, [job_id]).get(job_id, NOTHING_LIVE)
            job = self._jobs.readable(row)
            run = decide(job, row.incarnation or "", live)
            with self._database.begin() as connection:
                if not self._jobs.touch(connection, row):
                    continue
                values = dict(zip(RUN_COLUMNS, self._row(run), strict=True))
                connection.execute(self._table.insert(), values)
                if run.state is RunState.WAITING:
                    self._jobs.edited(connection)
            self._opened.add(job_id)
            return run, job

    def apply(self, transitions: Sequence[Transition]) -> list[bool]:
        """Write transitions; return for each whether it was carried out."""
        if not transitions:
            return []
        with self._database.begin() as connection:
            return self._apply(connection, transitions)

    def _apply(
        self, connection: Connection, transitions: Sequence[Transition], node: str | None = None
    ) -> list[bool]:
        self._touch_jobs(connection, transitions)
        answers = [False] * len(transitions)
        left = list(enumerate(transitions))
        while left:
            # Of several transitions of one Run, each has to see what became of the one before.
            now: dict[str, tuple[int, Transition]] = {}
            later = []
            for position, transition in left:
                if transition.run.id in now:
                    later.append((position, transition))
                else:
                    now[transition.run.id] = position, transition
            for position in self._apply_each(connection, list(now.values()), node):
                answers[position] = True
            left = later
        return answers

    def _apply_each(
        self,
        connection: Connection,
        transitions: list[tuple[int, Transition]],
        node: str | None,
    ) -> list[int]:
        """Write transitions, no two of one Run; return the places of those carried out."""
        carried_out: list[int] = []
        follow_ups: list[RunRow] = []
        for part in chunks(transitions, AT_ONCE):
            rows = [_transition_row(transition, node) for _, transition in part]
            done = self._database.dialect.end_runs(connection, rows)
            for position, transition in part:
                if transition.run.id in done:
                    carried_out.append(position)
                    if transition.follow_up is not None:
                        follow_ups.append(self._row(transition.follow_up))
                        self._opened.add(transition.run.job_id)
        if follow_ups:
            self._database.dialect.insert_runs(connection, follow_ups)
        return carried_out

    def _touch_jobs(self, connection: Connection, transitions: Iterable[Transition]) -> None:
        """Move the ground of decisions that do not know of an instance which is about to begin."""
        ids = {
            transition.run.job_id
            for transition in transitions
            if transition.follow_up is not None
            and transition.follow_up.batch != transition.run.batch
        }
        if ids:
            self._jobs.touch_all(connection, sorted(ids))

    def _row(self, run: Run) -> RunRow:
        if run.definition is None:
            return run_row(run)
        return run_row(run, definition_of(run.definition, self._protocol))

    # -- taken over -----------------------------------------------------------------------------

    def claim_waiting(
        self,
        now: datetime,
        decide: Callable[[Run, Job | None], Transition],
        limit: int,
        executors: Collection[str] | None,
        node: str | None,
    ) -> list[tuple[Run, Job]]:
        """Decide about waiting Runs that need attention; return those that were started."""
        started: list[tuple[Run, Job]] = []
        after: Any = None
        while len(started) < limit:
            size = min(limit - len(started), AT_ONCE)
            rows, jobs = self._waiting(micros(now), size, after, executors)
            transitions: list[tuple[Transition, Job | None]] = []
            for row in rows:
                job, is_readable = self._job_of(row, jobs)
                if is_readable:
                    run = run_of(row, self._alias, job if row.definition else None)
                    transitions.append((decide(run, job), job))
            if transitions:
                with self._database.begin() as connection:
                    self._nodes.check(connection, self._database.dialect.locks_rows)
                    answers = self._apply(connection, [each for each, _ in transitions], node)
                for (transition, job), done in zip(transitions, answers, strict=True):
                    if done and job is not None and transition.after is RunState.RUNNING:
                        run = moved(transition.run, transition)
                        started.append((replace(run, node=node) if node else run, job))
            if len(rows) < size:
                break
            after = rows[-1]
        return started

    def _waiting(
        self, now: int, size: int, after: Any, executors: Collection[str] | None
    ) -> tuple[Sequence[Any], dict[str, Any]]:
        """Return the next Runs that need attention, and the rows of their jobs."""
        question = self._questions.waiting(executors is not None, after is not None)
        parameters: dict[str, Any] = {"now": now, "size": size}
        if executors is not None:
            parameters["executors"] = sorted(executors)
        if after is not None:
            parameters |= {"after_at": after.attention_at, "after_id": after.id}
        jobs: dict[str, Any] = {}
        with self._database.read() as connection:
            rows = self._questions.ask(connection, question, parameters).all()
            if rows:
                ids = sorted({row.job_id for row in rows})
                wanted = select(*self._jobs.columns).where(
                    self._database.tables.jobs.c.id.in_(ids)
                )
                jobs = {row.id: row for row in connection.execute(wanted)}
        return rows, jobs

    def _job_of(self, row: Any, jobs: dict[str, Any]) -> tuple[Job | None, bool]:
        """Return the job of a Run, and whether it can be read if it is there."""
        stored = jobs.get(row.job_id)
        if row.definition is not None and (
            stored is None or (stored.incarnation or "") != row.incarnation
        ):
            job = self._reader.read_definition(row)
            if job is None:
                self._reader.pass_over(row.id)
            return job, job is not None
        if stored is None:
            return None, True
        job = self._reader.read(stored)
        return job, job is not None

    def claim_lapsed(
        self, decide: Callable[[Run], Transition], dead: Collection[str], only_named: bool
    ) -> list[tuple[Run, Transition]]:
        """End what dead nodes were running, and forget them."""
        nodes = named = sorted(dead)
        if not only_named:
            with self._database.read() as connection:
                nodes = self._nodes.dead(connection, named)
        ended: list[tuple[Run, Transition]] = []
        for node in nodes:
            ended += self._end_those_of(node, decide, node in dead)
        if only_named:
            return ended
        with self._database.read() as connection:
            unknown = self._unknown_nodes(connection)
        for node in unknown:
            ended += self._end_those_of(node, decide, None)
        return ended

    def _end_those_of(
        self, node: str, decide: Callable[[Run], Transition], named: bool | None
    ) -> list[tuple[Run, Transition]]:
        """End what a node was running.

        :param named: whether it is known to be dead whatever its lease; None if it is not known
        """
        c = self._table.c
        statement = (
            select(*self._columns, c.definition)
            .where(c.node == node, text(LIVE), not_waiting_for_a_moment(self._table))
            .order_by(self._database.dialect.unindexed(c.id))
        )
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        # What the Runs hold is not read: it may be that only others can.
        transitions = [
            decide(run_of(row, self._alias, row.definition and _pickled.Stored(row.definition)))
            for row in rows
        ]
        with self._database.begin() as connection:
            if named is None:
                known = self._database.tables.nodes.c.id == node
                if connection.scalar(select(exists().where(known))):
                    return []
            elif not self._nodes.forget(connection, node, named):
                return []
            answers = self._apply(connection, transitions)
        return [
            (transition.run, transition)
            for transition, done in zip(transitions, answers, strict=True)
            if done
        ]

    def _unknown_nodes(self, connection: Connection) -> list[str]:
        c, nodes = self._table.c, self._database.tables.nodes
        statement = (
            select(c.node)
            .distinct()
            .where(text(LIVE), not_waiting_for_a_moment(self._table))
            .where(~exists().where(nodes.c.id == c.node))
        )
        return sorted(connection.scalars(statement))

    def _definition_of(self, row: Any) -> Job | None:
        if row.definition is None:
            return None
        return self._reader.read_definition(row)

    def release_ended(self) -> None:
        """Forget which Runs could not be read, but for those that still wait."""
        if not self._reader.unreadable_runs:
            return
        waiting: set[str] = set()
        c = self._table.c
        for ids in chunks(self._reader.unreadable_runs, AT_ONCE):
            statement = select(c.id).where(c.id.in_(ids), c.state == RunState.WAITING.value)
            with self._database.read() as connection:
                waiting.update(connection.scalars(statement))
        self._reader.release_runs(waiting)

    # -- waking ---------------------------------------------------------------------------------

    def next_wakes(
        self, without: Collection[str], executors: Collection[str] | None
    ) -> tuple[datetime | None, datetime | None]:
        """Return when the next job is due, and when the next waiting Run needs attention."""
        unreadable = self._reader.unreadable[:LEFT_OUT_AT_MOST]
        undefined = self._reader.unreadable_runs[:LEFT_OUT_AT_MOST]
        left_out = [*without, *unreadable][:LEFT_OUT_AT_MOST]
        parameters: dict[str, Any] = {}
        if executors is not None:
            parameters["executors"] = sorted(executors)
        if left_out:
            parameters["without"] = left_out
        if unreadable:
            parameters["unreadable"] = unreadable
        if undefined:
            parameters["undefined"] = undefined
        question = self._questions.wake(
            executors is not None, bool(left_out), bool(unreadable), bool(undefined)
        )
        with self._database.read() as connection:
            due_at, attention_at = self._questions.ask(connection, question, parameters).one()
        return (
            None if due_at is None else moment_of_seconds(due_at),
            None if attention_at is None else moment(attention_at),
        )

    # -- listed ---------------------------------------------------------------------------------

    def find(self, query: RunQuery) -> list[Run]:
        """Return Runs, the newest first; those that are live with what they hold."""
        if query.job_id is not None and not can_be_id(query.job_id):
            return []
        c = self._table.c
        columns = list(self._columns)
        holds = query.state in LIVE_STATES
        places: list[Any] = [c.job_id, c.opened_at, c.id]
        if holds:
            columns.append(c.definition)
            places = [self._database.dialect.unindexed(place) for place in places]
        job_id, opened_at, run_id = places
        conditions: list[Any] = [text(LIVE)] if holds else [true()]
        if query.job_id is not None:
            conditions.append(job_id == query.job_id)
        if query.state is not None:
            # As a literal, for the sake of the indexes that cover only some states.
            conditions.append(c.state == literal_column(f"'{query.state.value}'"))
        if query.since is not None:
            conditions.append(c.scheduled_at >= micros(query.since))
        if query.until is not None:
            conditions.append(c.scheduled_at <= micros(query.until))
        if query.node is not None:
            conditions.append(c.node == query.node)
        if query.after is not None:
            until = micros(query.after.opened_at)
            conditions += [opened_at <= until, or_(opened_at < until, run_id < query.after.id)]
        statement = (
            select(*columns)
            .where(*conditions)
            .order_by(opened_at.desc(), run_id.desc())
            .limit(min(query.limit, _NO_LIMIT))
        )
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return [
            run_of(row, self._alias, self._definition_of(row) if holds else None) for row in rows
        ]


def _transition_row(transition: Transition, node: str | None) -> tuple[Any, ...]:
    """Return what a transition writes, as `RUN_UPDATE`."""
    after, ended_at = transition.after, transition.ended_at
    # What was lost can be run again, by whoever finds it.
    keeps = ended_at is None or after is RunState.LOST
    return (
        transition.run.id,
        transition.run.state._value_,
        after._value_,
        micros_or_none(transition.started_at),
        micros_or_none(ended_at),
        storable(transition.reason),
        storable(transition.error),
        node if after is RunState.RUNNING else None,
        1 if keeps else 0,
    )
