"""How due slots are claimed, in three ways: by what the database can do."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, func, select, update

from apscheduler._log import say
from apscheduler.job import Job
from apscheduler.jobstores import _pickled
from apscheduler.jobstores._sql.database import Database
from apscheduler.jobstores._sql.decisions import Asked, Decision, Mend, update_row
from apscheduler.jobstores._sql.dialects import AT_ONCE, JOB_UPDATE
from apscheduler.jobstores._sql.jobs import LEFT_OUT_AT_MOST, Jobs
from apscheduler.jobstores._sql.nodes import Nodes
from apscheduler.jobstores._sql.quarantine import Reader
from apscheduler.jobstores._sql.rows import (
    chunks,
    moment_or_none,
    run_row,
    seconds,
)
from apscheduler.jobstores.base import Claims
from apscheduler.runs import NOTHING_LIVE, Due, Live, Plan, Run, RunState, replace

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

#: How often in a row somebody else must have written a due job to be taken for a scheduler.
RIVAL_AFTER = 3


class Claimer(ABC):
    """Claims slots: reads, decides with nothing locked, and writes where the ground still stands.

    :param opened: receives the ids of jobs of which Runs were opened
    """

    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        nodes: Nodes,
        reader: Reader,
        logger: logging.Logger,
        protocol: int,
        opened: set[str],
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._nodes = nodes
        self._reader = reader
        self._logger = logger
        self._protocol = protocol
        self._opened = opened
        self._questions = database.dialect.questions
        # Jobs that somebody else has written since we did, and how often that was seen.
        self._rewritten: dict[str, int] = {}
        self._rival_named = False

    def claim(
        self,
        now: datetime,
        decide: Callable[[Due], Plan | None],
        limit: int,
        without: Collection[str],
        executors: Collection[str] | None,
    ) -> Claims:
        self._reader.now = now
        left_out = [*without, *self._reader.unreadable]
        asked = Asked(
            seconds(now),
            decide,
            None if executors is None else frozenset(executors),
            left_out[:LEFT_OUT_AT_MOST],
            frozenset(left_out[LEFT_OUT_AT_MOST:]),
        )
        claims = Claims([], [])
        after: Any = None
        size = min(limit, AT_ONCE)
        while (room := limit - len(claims.won)) > 0:
            rows = self._claim_page(asked, size, after, room, claims)
            if len(rows) < size:
                break
            after = rows[-1]
            # Those that come first may be thousands that nothing is decided about.
            size = min(2 * size, AT_ONCE)
        return claims

    def _claim_page(
        self, asked: Asked, size: int, after: Any, room: int, claims: Claims
    ) -> Sequence[Any]:
        """Decide about some of the due jobs that come next; return the rows that were read."""
        return self._claim_read(asked, room, claims, self._question(asked, size, after))

    def _claim_read(
        self, asked: Asked, room: int, claims: Claims, question: tuple[Any, dict[str, Any]]
    ) -> Sequence[Any]:
        """Decide about due jobs with nothing locked; return their rows."""
        with self._database.read() as connection:
            rows: Sequence[Any] = self._questions.ask(connection, *question).all()
            # After the jobs: what raises the number of live Runs changes its job's row as well,
            # and the decision is refused.
            lives = self.live(connection, [row.id for row in rows])
        decisions, mends = self._decide(rows, lives, asked, room, self._reader.read, claims)
        if decisions or mends:
            with self._alive() as connection:
                won = self._write(connection, decisions, mends)
            self._look_for_rivals(decisions, won)
            claims.won.extend(won)
        else:
            with self._database.read() as connection:
                self._nodes.check(connection)
        return rows

    @contextmanager
    def _alive(self) -> Iterator[Connection]:
        """Lend a connection in a transaction, until the end of which this node is alive.

        What blocks others is not held for long, even if this process is stopped in it.
        """
        dialect = self._database.dialect
        with self._database.begin() as connection, dialect.idle_bounded(connection):
            self._nodes.check(connection, lock=dialect.locks_rows)
            yield connection

    # -- questions ------------------------------------------------------------------------------

    def _question(
        self, asked: Asked, size: int, after: Any, ids: Sequence[str] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Return the statement that reads due jobs, and its parameters."""
        parameters: dict[str, Any] = {"now": asked.now, "size": size}
        if asked.executors is not None:
            parameters["executors"] = sorted(asked.executors)
        if asked.without:
            parameters["without"] = asked.without
        if after is not None:
            parameters |= {"time": after.next_run_time, "after": after.id}
        if ids is not None:
            parameters["ids"] = list(ids)
        statement = self._questions.due(
            asked.executors is not None, bool(asked.without), after is not None, ids is not None
        )
        return statement, parameters

    def live(self, connection: Connection, ids: Sequence[str]) -> dict[str, Live]:
        """Return what of jobs is live; those of which nothing is are left out.

        What waits for somebody else who can read it is no instance: it may wait forever, and the
        job that has taken the place of what it holds with it.
        """
        lives: dict[str, Live] = {}
        for part in chunks(ids, AT_ONCE):
            found = self._questions.ask(connection, self._questions.live(), {"ids": list(part)})
            for job_id, instances, opened_until in found:
                lives[job_id] = Live(instances, moment_or_none(opened_until))
        for part in chunks(self._reader.unreadable_runs, AT_ONCE):
            for job_id, batches in connection.execute(self._passed_over(part)):
                if (live := lives.get(job_id)) is not None:
                    lives[job_id] = replace(live, instances=max(live.instances - batches, 0))
        return lives

    def _passed_over(self, run_ids: Sequence[str]) -> Any:
        runs = self._database.tables.runs.c
        return (
            select(runs.job_id, func.count(runs.batch.distinct()))
            .where(runs.id.in_(run_ids), runs.state == RunState.WAITING.value)
            .group_by(runs.job_id)
        )

    # -- decisions ------------------------------------------------------------------------------

    def _decide(
        self,
        rows: Sequence[Any],
        lives: dict[str, Live],
        asked: Asked,
        room: int,
        read: Callable[[Any], Job | None],
        claims: Claims,
    ) -> tuple[list[Decision], list[Mend]]:
        """Take at most ``room`` decisions about due jobs."""
        decisions: list[Decision] = []
        mends: list[Mend] = []
        executors, now = asked.executors, asked.now
        for row in rows:
            if len(decisions) == room:
                break
            if row.id in asked.withheld:
                continue
            job = read(row)
            if job is None:
                continue
            slot = job.next_run_time
            due_at = None if slot is None else seconds(slot)
            plan = None
            # The pickle is the truth: 3.x knows no other column for the executor.
            if (
                slot is not None
                and due_at is not None
                and due_at <= now
                and (executors is None or job.executor in executors)
            ):
                due = Due(
                    job,
                    slot,
                    row.incarnation or "",
                    moment_or_none(row.born),
                    moment_or_none(row.last_slot),
                    lives.get(row.id, NOTHING_LIVE),
                )
                plan = asked.decide(due)
            if plan is not None:
                try:
                    decisions.append(self._prepared(row, due, plan))
                except Exception as error:
                    claims.failed.append((due, error))
            elif due_at != row.next_run_time or job.executor != row.executor:
                mends.append(Mend(row, due_at, job.executor))
        return decisions, mends

    def _prepared(self, row: Any, due: Due, plan: Plan) -> Decision:
        job, state = due.job, None
        runs = [
            run_row(run, self._definition(run, row, job)) for run in (*plan.opened, *plan.closed)
        ]
        if plan.next_run_time is not None:
            job.next_run_time = plan.next_run_time
            state = _pickled.dump_moved(job, row.job_state, due.slot, self._protocol)
        return Decision(row, due, plan, state, runs)

    def _definition(self, run: Run, row: Any, job: Job) -> bytes | None:
        if run.definition is None:
            return None
        if run.definition is job:
            return _pickled.join(row.job_state, row.options)
        return definition_of(run.definition, self._protocol)

    def forget(self, job_id: str) -> None:
        """Forget who has written a job, which is removed."""
        self._rewritten.pop(job_id, None)

    def forget_all(self) -> None:
        self._rewritten.clear()

    def _look_for_rivals(self, decisions: list[Decision], won: list[tuple[Due, Plan]]) -> None:
        """Look whether others have written those jobs about which a decision was carried out."""
        ids = {due.job.id for due, _ in won}
        for decision in decisions:
            if decision.state is None:
                self.forget(decision.row.id)
            elif decision.row.id in ids:
                self._look_for_a_rival(decision.row)

    def _look_for_a_rival(self, row: Any) -> None:
        if self._rival_named or row.digest is None:
            return
        if row.digest == _pickled.digest(row.job_state):
            self._rewritten.pop(row.id, None)
            return
        seen = self._rewritten[row.id] = self._rewritten.get(row.id, 0) + 1
        if seen < RIVAL_AFTER:
            return
        self._rival_named = True
        self._rewritten.clear()
        say(
            self._logger,
            logging.WARNING,
            'Something else has rewritten job "%s" each of the last %d times it ran. If that is '
            "a scheduler of APScheduler 3.x on the same table, stop it: it runs slots a second "
            "time, and knows nothing of those that run here",
            row.id,
            seen,
        )

    # -- writes ---------------------------------------------------------------------------------

    @abstractmethod
    def _write(
        self, connection: Connection, decisions: list[Decision], mends: list[Mend]
    ) -> list[tuple[Due, Plan]]:
        """Carry out the decisions whose ground stands; return what was won by that."""

    def _carry_out(
        self, connection: Connection, decisions: list[Decision], mends: list[Mend]
    ) -> list[tuple[Due, Plan]]:
        """Carry out decisions whose ground is known to stand until the end of the transaction."""
        dialect, jobs = self._database.dialect, self._database.tables.jobs
        updates = [update_row(decision) for decision in decisions if decision.state is not None]
        if updates:
            dialect.write_jobs(connection, updates)
        exhausted = sorted(decision.row.id for decision in decisions if decision.state is None)
        for ids in chunks(exhausted, AT_ONCE):
            self._questions.ask(connection, self._questions.exhausted(), {"ids": list(ids)})
        if mends:
            connection.execute(
                update(jobs)
                .where(jobs.c.id == bindparam("id_"))
                .values(next_run_time=bindparam("time"), executor=bindparam("executor_")),
                [
                    {"id_": mend.row.id, "time": mend.next_run_time, "executor_": mend.executor}
                    for mend in mends
                ],
            )
        return self._open(connection, decisions)

    def _open(self, connection: Connection, decisions: list[Decision]) -> list[tuple[Due, Plan]]:
        """Open the Runs of decisions; leave those out whose slots turn out to be decided."""
        runs = [run for decision in decisions for run in decision.runs]
        opened = self._database.dialect.insert_runs(connection, runs) if runs else None
        won: list[tuple[Due, Plan]] = []
        for decision in decisions:
            self._opened.add(decision.row.id)
            if opened is None:
                won.append((decision.due, decision.plan))
            elif (plan := self._what_is_left(connection, decision.plan, opened)) is not None:
                won.append((decision.due, plan))
        return won

    def _what_is_left(self, connection: Connection, plan: Plan, opened: set[str]) -> Plan | None:
        """Return a decision without what somebody else has decided before; None if that is all."""
        ours = [run for run in plan.opened if run.id in opened]
        closed = tuple(run for run in plan.closed if run.id in opened)
        if len(ours) + len(closed) == len(plan.opened) + len(plan.closed):
            return plan
        if not ours and not closed:
            return None
        if ours and ours[0].state is not RunState.RUNNING:
            # The first of its batch is decided: the next one takes its place.
            ours[0] = replace(ours[0], state=RunState.RUNNING)
            runs = self._database.tables.runs
            connection.execute(
                update(runs).where(runs.c.id == ours[0].id).values(state=RunState.RUNNING.value)
            )
        return Plan(plan.next_run_time, plan.last_slot, tuple(ours), closed)


class ConditionalClaimer(Claimer):
    """For databases of which nothing is known: each write names its ground."""

    def _write(
        self, connection: Connection, decisions: list[Decision], mends: list[Mend]
    ) -> list[tuple[Due, Plan]]:
        c = self._database.tables.jobs.c
        carried_out = [
            decision
            for decision in sorted(decisions, key=lambda decision: str(decision.row.id))
            if self._write_one(connection, decision)
        ]
        for mend in mends:
            connection.execute(
                update(self._database.tables.jobs)
                .where(c.id == mend.row.id, c.job_state == mend.row.job_state)
                .values(next_run_time=mend.next_run_time, executor=mend.executor)
            )
        carried_out.sort(key=lambda decision: (decision.due.slot.timestamp(), decision.row.id))
        return self._open(connection, carried_out)

    def _write_one(self, connection: Connection, decision: Decision) -> bool:
        row, jobs = decision.row, self._database.tables.jobs
        ground = and_(
            jobs.c.id == row.id,
            jobs.c.job_state == row.job_state,
            func.coalesce(jobs.c.revision, 0) == (row.revision or 0),
            func.coalesce(jobs.c.incarnation, "") == (row.incarnation or ""),
        )
        if decision.state is None:
            return bool(connection.execute(delete(jobs).where(ground)).rowcount)
        values = dict(zip(JOB_UPDATE[1:], update_row(decision)[1:], strict=True))
        return bool(connection.execute(update(jobs).where(ground).values(values)).rowcount)


class RecheckingClaimer(Claimer):
    """For databases that let a writer look again before it writes."""

    def _write(
        self, connection: Connection, decisions: list[Decision], mends: list[Mend]
    ) -> list[tuple[Due, Plan]]:
        ids = [each.row.id for each in decisions] + [each.row.id for each in mends]
        now: dict[str, tuple[Any, ...]] = {}
        for part in chunks(ids, AT_ONCE):
            question = self._questions.ground(), {"ids": list(part)}
            for job_id, *ground in self._questions.ask(connection, *question):
                now[job_id] = tuple(ground)

        def stands(row: Any) -> bool:
            return now.get(row.id) == (row.job_state, row.revision, row.incarnation)

        return self._carry_out(
            connection,
            [decision for decision in decisions if stands(decision.row)],
            [mend for mend in mends if stands(mend.row)],
        )


class LockingClaimer(RecheckingClaimer):
    """For databases that lock rows as they are read: nobody else can move the ground.

    Whoever locks holds others up, so no code of users runs meanwhile. Jobs that consist of more
    than what is ours are read and decided about with nothing locked, as elsewhere.
    """

    def _claim_page(
        self, asked: Asked, size: int, after: Any, room: int, claims: Claims
    ) -> Sequence[Any]:
        limit = len(claims.won) + room
        rows, others = self._claim_locked(asked, room, claims, self._question(asked, size, after))
        room = limit - len(claims.won)
        if not room:
            for row in others:
                self._reader.read(row)  # What cannot be read is to be known all the same.
        elif others:
            question = self._question(asked, len(others), None, [row.id for row in others])
            self._claim_read(asked, room, claims, question)
        return rows

    def _claim_locked(
        self, asked: Asked, room: int, claims: Claims, question: tuple[Any, dict[str, Any]]
    ) -> tuple[Sequence[Any], list[Any]]:
        """Decide about due jobs; return their rows, and those of them that are left."""
        others: list[Any] = []

        def read(row: Any) -> Job | None:
            try:
                return self._reader.read_under_lock(row)
            except _pickled.NotHarmlessError:
                others.append(row)
                return None

        with self._alive() as connection:
            rows = self._questions.ask(connection, *question).all()
            # In a statement of its own: one that locks sees what was there before it waited.
            lives = self.live(connection, [row.id for row in rows])
            decisions, mends = self._decide(rows, lives, asked, room, read, claims)
            won = self._carry_out(connection, decisions, mends)
        self._look_for_rivals(decisions, won)
        claims.won.extend(won)
        return rows, others


def claimer_for(database: Database) -> type[Claimer]:
    """Return the way that suits a database."""
    if database.dialect.locks_rows:
        return LockingClaimer
    return RecheckingClaimer if database.dialect.locks_all else ConditionalClaimer


def definition_of(job: Job | _pickled.Stored, protocol: int) -> bytes:
    """Return a job as a Run holds it."""
    if isinstance(job, _pickled.Stored):
        return job.definition
    return _pickled.join(_pickled.dump(job, protocol), _pickled.dump_options(job))
