"""The servers that lock rows as they read them: PostgreSQL, and MariaDB or MySQL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    String,
    bindparam,
    cast,
    func,
    literal,
    literal_column,
    select,
    text,
)

from apscheduler.jobstores._sql.dialects import JOB_UPDATE, RUN_UPDATE, Dialect, SQLite, listed
from apscheduler.jobstores._sql.rows import RUN_COLUMNS, RunRow, check_length
from apscheduler.jobstores._sql.schema import LIVE, MAX_ID, MAX_NAME, Tables

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.sql.expression import ColumnElement


class PostgreSQL(Dialect):
    """Rows that are locked as they are read, arrays, and word of edits."""

    locks_rows = True
    has_clock = True
    compares_exactly = True
    notifies = True
    isolation = "READ COMMITTED"

    def __init__(self, engine: Engine, tables: Tables) -> None:
        super().__init__(engine, tables)
        jobs, runs = self.name_in_text(self.jobs_name), self.name_in_text(self.runs_name)
        assignments = ", ".join(f"{name} = v.{name}" for name in JOB_UPDATE[1:])
        self._update_jobs = text(
            f"UPDATE {jobs} AS j SET {assignments} FROM {_unnest(JOB_UPDATE)} WHERE j.id = v.id"
        )
        self._insert_runs = text(
            f"INSERT INTO {runs} ({listed(RUN_COLUMNS)}) "
            f"SELECT {listed(RUN_COLUMNS, 'v.')} FROM {_unnest(RUN_COLUMNS)} "
            f"ON CONFLICT DO NOTHING RETURNING id"
        )
        self._end_runs = text(
            f"UPDATE {runs} AS r SET state = v.state, "
            f"started_at = coalesce(v.started_at, r.started_at), ended_at = v.ended_at, "
            f"reason = v.reason, error = v.error, node = coalesce(v.node, r.node), "
            f"attention_at = NULL, definition = CASE WHEN v.keeps = 1 THEN r.definition END "
            f"FROM {_unnest(RUN_UPDATE)} WHERE r.id = v.id AND r.state = v.before "
            f"RETURNING r.id"
        )

    def now(self, connection: Connection) -> ColumnElement[Any]:
        return literal_column(
            "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)", BigInteger
        )

    def among(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        return column == func.any(cast(bindparam(name), ARRAY(String)))

    def not_among(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        return column != func.all(cast(bindparam(name), ARRAY(String)))

    def live(self) -> Any:
        return text(
            f"SELECT job_id, count(DISTINCT batch), "
            f"max(CASE WHEN kind = 'slot' THEN opened_at END) "
            f"FROM {self.name_in_text(self.runs_name)} "
            f"WHERE job_id = ANY(CAST(:ids AS varchar[])) AND {LIVE} GROUP BY job_id"
        )

    def by_id(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return column.collate("C")

    def lock_for_migration(self, connection: Connection) -> None:
        name = hashlib.blake2b(self.jobs_name.encode(), digest_size=8).digest()
        key = int.from_bytes(name, "big", signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(literal(key, BigInteger))))

    @contextmanager
    def idle_bounded(self, connection: Connection) -> Iterator[None]:
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '2s'")
        yield

    def insert_jobs(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        names = list(rows[0])
        jobs = self.name_in_text(self.jobs_name)
        statement = text(
            f"INSERT INTO {jobs} ({listed(names)}) SELECT {listed(names, 'v.')} "
            f"FROM {_unnest(names)}"
        )
        connection.execute(statement, {name: [row[name] for row in rows] for name in names})

    def write_jobs(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        connection.execute(self._update_jobs, _columns(JOB_UPDATE, rows))

    def insert_runs(self, connection: Connection, rows: Sequence[RunRow]) -> set[str] | None:
        opened = connection.scalars(self._insert_runs, _columns(RUN_COLUMNS, rows)).all()
        return None if len(opened) == len(rows) else set(opened)

    def end_runs(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> set[str]:
        # By id, so that two who end the same Runs wait for each other and do not deadlock.
        columns = _columns(RUN_UPDATE, sorted(rows, key=itemgetter(0)))
        return set(connection.scalars(self._end_runs, columns))


class MySQL(Dialect):
    """MariaDB from 10.6 and MySQL from 8 on: rows that are locked as they are read, and JSON."""

    locks_rows = True
    has_clock = True
    isolation = "READ COMMITTED"

    def __init__(self, engine: Engine, tables: Tables) -> None:
        super().__init__(engine, tables)
        self._is_mariadb = bool(getattr(engine.dialect, "is_mariadb", False))
        assignments = ", ".join(f"{name} = VALUES({name})" for name in JOB_UPDATE[1:])
        self._update_jobs = (
            f"INSERT INTO {self.jobs_name} ({listed(JOB_UPDATE)}) "
            f"VALUES ({_places(JOB_UPDATE)}) ON DUPLICATE KEY UPDATE {assignments}"
        )
        self._insert_runs = (
            f"INSERT IGNORE INTO {self.runs_name} ({listed(RUN_COLUMNS)}) "
            f"VALUES ({_places(RUN_COLUMNS)})"
        )
        types = {name: _MYSQL_TYPES.get(name, _MYSQL_TEXT) for name in RUN_UPDATE}
        columns = ", ".join(
            f"`{name}` {types[name]} PATH '$[{position}]'"
            for position, name in enumerate(RUN_UPDATE)
        )
        self._end_runs = text(
            f"UPDATE {self.name_in_text(self.runs_name)} AS r "
            f"JOIN JSON_TABLE(:rows, '$[*]' COLUMNS ({columns})) AS v ON r.id = v.id "
            f"SET r.state = v.state, r.started_at = coalesce(v.started_at, r.started_at), "
            f"r.ended_at = v.ended_at, r.reason = v.reason, r.error = v.error, "
            f"r.node = coalesce(v.node, r.node), r.attention_at = NULL, "
            f"r.definition = CASE WHEN v.keeps = 1 THEN r.definition END "
            f"WHERE r.state = v.`before`"
        )

    def now(self, connection: Connection) -> ColumnElement[Any]:
        return literal_column(
            "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))", BigInteger
        )

    def lock_for_migration(self, connection: Connection) -> None:
        got = connection.scalar(select(func.get_lock(self._lock_name(), 60)))
        if got != 1:
            raise TimeoutError(
                f"others have been changing the tables of {self.jobs_name} for 60 s"
            )

    def unlock_after_migration(self, connection: Connection) -> None:
        connection.execute(select(func.release_lock(self._lock_name())))

    def _lock_name(self) -> str:
        place = f"{self.engine.url.database}.{self.jobs_name}"
        return f"apscheduler-{hashlib.blake2b(place.encode(), digest_size=8).hexdigest()}"

    @contextmanager
    def idle_bounded(self, connection: Connection) -> Iterator[None]:
        if not self._is_mariadb:
            yield
            return
        connection.exec_driver_sql("SET SESSION idle_transaction_timeout = 2")
        try:
            yield
        finally:
            # It is the session's, and the connection may be that of somebody else next.
            if not connection.invalidated:
                connection.exec_driver_sql("SET SESSION idle_transaction_timeout = DEFAULT")

    def _live_hint(self) -> str:
        return f"FORCE INDEX ({self.name_in_text(self.live_index)})"

    def write_jobs(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        connection.exec_driver_sql(self._update_jobs, list(rows))

    def insert_runs(self, connection: Connection, rows: Sequence[RunRow]) -> set[str] | None:
        for row in rows:
            _check_lengths(row)  # What is ignored is also what is cut off.
        if connection.exec_driver_sql(self._insert_runs, list(rows)).rowcount == len(rows):
            return None
        return self.existing_runs(connection, [row[0] for row in rows])

    def end_runs(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> set[str]:
        def end(rows: Sequence[tuple[Any, ...]]) -> int:
            return connection.execute(self._end_runs, {"rows": json.dumps(rows)}).rowcount

        # By id, so that two who end the same Runs wait for each other and do not deadlock.
        return self._end_all_or_some(connection, sorted(rows, key=itemgetter(0)), end)


_ARRAY_TYPES = {
    "next_run_time": "float8",
    "job_state": "bytea",
    "definition": "bytea",
    "born": "bigint",
    "last_slot": "bigint",
    "revision": "bigint",
    "scheduled_at": "bigint",
    "first_scheduled_at": "bigint",
    "attention_at": "bigint",
    "opened_at": "bigint",
    "started_at": "bigint",
    "ended_at": "bigint",
    "count": "int",
    "attempt": "int",
    "keeps": "int",
}
_MYSQL_TEXT = f"VARCHAR({MAX_ID}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
_MYSQL_TYPES = {
    "started_at": "BIGINT",
    "ended_at": "BIGINT",
    "keeps": "INT",
    "reason": "TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "error": "TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
}
_LONGEST = {
    "id": MAX_ID,
    "job_id": MAX_NAME,
    "incarnation": 32,
    "batch": MAX_ID,
    "executor": MAX_NAME,
    "node": MAX_ID,
}
_BOUNDED = [(RUN_COLUMNS.index(name), name, longest) for name, longest in _LONGEST.items()]


def dialect_of(engine: Engine, tables: Tables) -> Dialect:
    """Return what the database behind an engine can do; a connection has been made by it."""
    name = engine.dialect.name
    version: tuple[Any, ...] = getattr(engine.dialect, "server_version_info", None) or (0,)
    if name == "sqlite":
        return SQLite(engine, tables)
    if name == "postgresql" and version >= (9, 6):
        return PostgreSQL(engine, tables)
    if name in {"mysql", "mariadb"}:
        is_mariadb = bool(getattr(engine.dialect, "is_mariadb", False))
        if version >= ((10, 6) if is_mariadb else (8,)):
            return MySQL(engine, tables)
    return Dialect(engine, tables)


def _places(names: Sequence[str]) -> str:
    return ", ".join(["%s"] * len(names))


def _unnest(names: Sequence[str]) -> str:
    arrays = ", ".join(f"CAST(:{name} AS {_ARRAY_TYPES.get(name, 'text')}[])" for name in names)
    return f"unnest({arrays}) AS v({listed(names)})"


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {
        name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def _check_lengths(row: RunRow) -> None:
    for position, name, longest in _BOUNDED:
        if len(row[position]) > longest:
            check_length(f"{name} of a run", row[position], longest)
