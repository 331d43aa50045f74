"""What databases can do, and how each is asked for the few things that make it fast.

Rows are tuples here, in the order of the columns that are named with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Integer,
    String,
    Table,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    not_,
    null,
    select,
    text,
    update,
)
from sqlalchemy.sql.expression import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from apscheduler.jobstores._sql.questions import Questions, SQLiteQuestions
from apscheduler.jobstores._sql.rows import RUN_COLUMNS, RunRow, chunks, micros
from apscheduler.jobstores._sql.schema import LIVE, Tables

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.sql.expression import ColumnElement

#: What a decision writes into its job's row.
JOB_UPDATE = ("id", "next_run_time", "job_state", "last_slot", "executor", "revision", "digest")
#: What a transition writes into its Run's row, if that is still in the state ``before``.
RUN_UPDATE = (
    "id",
    "before",
    "state",
    "started_at",
    "ended_at",
    "reason",
    "error",
    "node",
    "keeps",
)
#: How many rows a statement names at most.
AT_ONCE = 500
_SQLITE_CLOCK = "CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)"


class Dialect:
    """A database of which nothing is known: each write is conditional, and its count decides."""

    #: Whether rows are locked as they are read, and locked ones passed over.
    locks_rows: ClassVar[bool] = False
    #: Whether one writer at a time is let in, who may then look at what it is to change.
    locks_all: ClassVar[bool] = False
    #: Whether `now` is an expression, and not the answer to a question of its own.
    has_clock: ClassVar[bool] = False
    #: Whether no two texts are equal but those that are the same: there may be databases for which
    #: "a" is "a ", or "A".
    compares_exactly: ClassVar[bool] = False
    #: Whether those who wait for edits can be told of them.
    notifies: ClassVar[bool] = False
    isolation: ClassVar[str | None] = None
    #: How many Runs are deleted at a time.
    prune_batch: ClassVar[int] = 1000

    def __init__(self, engine: Engine, tables: Tables) -> None:
        self.engine = engine
        self.tables = tables
        preparer = engine.dialect.identifier_preparer
        self.jobs_name = tables.name(preparer)
        self.runs_name = tables.name(preparer, "_runs")
        #: The index of what is live, as it stands in a statement.
        self.live_index = preparer.quote(tables.live_index)
        self.questions = self._make_questions()

    def _make_questions(self) -> Questions:
        return Questions(self)

    def name_in_text(self, name: str) -> str:
        return name.replace(":", "\\:")

    def now(self, connection: Connection) -> ColumnElement[Any]:
        """Return the time of the store in microseconds, for use in a statement."""
        now: Any = connection.scalar(select(func.current_timestamp()))
        if isinstance(now, str):
            now = datetime.fromisoformat(now)
        return literal(micros(now if now.tzinfo else now.replace(tzinfo=UTC)), BigInteger)

    def among(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Return the condition that a column is one of those texts of a parameter."""
        return column.in_(bindparam(name, expanding=True))

    def not_among(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        return not_(column.in_(bindparam(name, expanding=True)))

    def by_id(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return a text column in the order in which Python has texts."""
        return column

    def lock_for_migration(self, connection: Connection) -> None:
        """Let nobody else change tables until this connection has done so."""

    def unlock_after_migration(self, connection: Connection) -> None:
        """Let others change tables again, where the end of the transaction does not."""

    @contextmanager
    def idle_bounded(self, connection: Connection) -> Iterator[None]:
        """Let the server end the open transaction if this process hangs in it."""
        yield

    def unindexed(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return a column so that no index of it is used in place of that of what is live."""
        return column

    def live(self) -> Any:
        """Return the statement that tells what of some jobs is live."""
        statement = text(
            f"SELECT job_id, count(DISTINCT batch), "
            f"max(CASE WHEN kind = 'slot' THEN opened_at END) "
            f"FROM {self.name_in_text(self.runs_name)} {self._live_hint()} "
            f"WHERE job_id IN :ids AND {LIVE} GROUP BY job_id"
        )
        return statement.bindparams(bindparam("ids", expanding=True))

    def _live_hint(self) -> str:
        """Return what keeps the database from reading all Runs of those jobs."""
        return ""

    def insert_jobs(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows that all have the same columns."""
        connection.execute(self.tables.jobs.insert(), rows)

    def write_jobs(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write what was decided about jobs whose rows are locked; see `JOB_UPDATE`."""
        jobs = self.tables.jobs
        statement = (
            update(jobs)
            .where(jobs.c.id == bindparam("id_"))
            .values({name: bindparam(f"{name}_") for name in JOB_UPDATE[1:]})
        )
        names = [f"{name}_" for name in JOB_UPDATE]
        connection.execute(statement, [dict(zip(names, row, strict=True)) for row in rows])

    def insert_runs(self, connection: Connection, rows: Sequence[RunRow]) -> set[str] | None:
        """Open Runs, but for those whose slot is decided; return the ids if not all are opened."""
        runs = self.tables.runs
        opened = set()
        for row in rows:
            values = dict(zip(RUN_COLUMNS, row, strict=True))
            taken = select(runs.c.id).where(
                runs.c.job_id == values["job_id"], runs.c.slot_key == values["slot_key"]
            )
            if connection.execute(taken).first() is None:
                connection.execute(runs.insert(), values)
                opened.add(values["id"])
        return None if len(opened) == len(rows) else opened

    def end_runs(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> set[str]:
        """Write transitions, no two of one Run; return the ids of the Runs that were moved.

        See `RUN_UPDATE`.
        """
        statement = _end_statement(self.tables.runs)
        moved = set()
        for row in rows:
            values = {f"{name}_": part for name, part in zip(RUN_UPDATE, row, strict=True)}
            if connection.execute(statement, values).rowcount:
                moved.add(row[0])
        return moved

    def _end_all_or_some(
        self,
        connection: Connection,
        rows: Sequence[tuple[Any, ...]],
        end: Callable[[Sequence[tuple[Any, ...]]], int],
    ) -> set[str]:
        """Write transitions where only their number is told; see `end_runs`."""
        if len(rows) == 1:
            return {rows[0][0]} if end(rows) else set()
        connection.exec_driver_sql("SAVEPOINT before_ends")
        if end(rows) == len(rows):
            return {row[0] for row in rows}
        # Some of them have ended otherwise before.
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT before_ends")
        runs = self.tables.runs
        statement = select(runs.c.id, runs.c.state).where(self.among(runs.c.id, "ids"))
        if self.locks_rows:
            statement = statement.order_by(runs.c.id).with_for_update()
        states: dict[str, str] = {}
        for part in chunks([row[0] for row in rows], AT_ONCE):
            found: Any = connection.execute(statement, {"ids": list(part)})
            states.update(found.all())
        moving = [row for row in rows if states.get(row[0]) == row[1]]
        if moving:
            end(moving)
        return {row[0] for row in moving}

    def existing_runs(self, connection: Connection, ids: Sequence[str]) -> set[str]:
        runs = self.tables.runs
        found: set[str] = set()
        statement = select(runs.c.id).where(self.among(runs.c.id, "ids"))
        for part in chunks(ids, AT_ONCE):
            found.update(connection.scalars(statement, {"ids": list(part)}))
        return found


class SQLite(Dialect):
    """One writer at a time."""

    locks_all = True
    has_clock = True
    compares_exactly = True
    prune_batch = 500

    def __init__(self, engine: Engine, tables: Tables) -> None:
        super().__init__(engine, tables)
        assignments = ", ".join(f"{name} = ?" for name in JOB_UPDATE[1:])
        self._update_jobs = f"UPDATE {self.jobs_name} SET {assignments} WHERE id = ?"
        self._insert_runs = (
            f"INSERT OR IGNORE INTO {self.runs_name} ({listed(RUN_COLUMNS)}) "
            f"VALUES ({', '.join('?' * len(RUN_COLUMNS))})"
        )
        self._end_runs = (
            f"UPDATE {self.runs_name} SET state = ?, started_at = coalesce(?, started_at), "
            f"ended_at = ?, reason = ?, error = ?, node = coalesce(?, node), "
            f"attention_at = NULL, definition = CASE WHEN ? THEN definition END "
            f"WHERE id = ? AND state = ?"
        )

    def _make_questions(self) -> Questions:
        return SQLiteQuestions(self, _SQLITE_CLOCK)

    def now(self, connection: Connection) -> ColumnElement[Any]:
        return literal_column(_SQLITE_CLOCK, BigInteger)

    def unindexed(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        # It takes any order that is asked for to be worth reading everything.
        return UnaryExpression(column, operator=custom_op("+"), type_=column.type)

    def insert_jobs(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        names = list(rows[0])
        connection.exec_driver_sql(
            f"INSERT INTO {self.jobs_name} ({listed(names)}) VALUES ({listed(names, ':')})", rows
        )

    def write_jobs(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        connection.exec_driver_sql(self._update_jobs, [(*row[1:], row[0]) for row in rows])

    def insert_runs(self, connection: Connection, rows: Sequence[RunRow]) -> set[str] | None:
        if connection.exec_driver_sql(self._insert_runs, list(rows)).rowcount == len(rows):
            return None
        return self.existing_runs(connection, [row[0] for row in rows])

    def end_runs(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> set[str]:
        def end(rows: Sequence[tuple[Any, ...]]) -> int:
            parameters = [(*row[2:], *row[:2]) for row in rows]
            return connection.exec_driver_sql(self._end_runs, parameters).rowcount

        return self._end_all_or_some(connection, rows, end)


def _end_statement(runs: Table) -> Any:
    return (
        update(runs)
        .where(runs.c.id == bindparam("id_"), runs.c.state == bindparam("before_"))
        .values(
            state=bindparam("state_"),
            started_at=func.coalesce(
                bindparam("started_at_", type_=BigInteger), runs.c.started_at
            ),
            ended_at=bindparam("ended_at_"),
            reason=bindparam("reason_"),
            error=bindparam("error_"),
            node=func.coalesce(bindparam("node_", type_=String), runs.c.node),
            attention_at=None,
            definition=case(
                (bindparam("keeps_", type_=Integer) == 1, runs.c.definition), else_=null()
            ),
        )
    )


def listed(names: Sequence[str], prefix: str = "") -> str:
    """Return names as SQL lists columns."""
    return ", ".join(f"{prefix}{name}" for name in names)
