"""How the tables come to be what they are to be, in place and step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable

from apscheduler.jobstores._sql.database import Database
from apscheduler.jobstores._sql.schema import BESIDE, JOB_COLUMNS_BESIDE, Tables

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

_VERSION = "version"


class NoRightsError(Exception):
    """The tables are not what they are to be, and may not be changed.

    :param statements: what somebody with the rights would have to run
    """

    def __init__(self, statements: list[str]) -> None:
        super().__init__("; ".join(statements))
        self.statements = statements


def bring_up_to_date(database: Database) -> None:
    """Make or alter the tables, unless that has been done.

    :raises NoRightsError: if that is not allowed, though there is a table of 3.x
    """
    if _is_up_to_date(database):
        return
    try:
        with database.alter() as connection:
            _migrate(connection, database.tables)
    except DBAPIError as error:
        if _is_up_to_date(database):
            return  # Somebody else was quicker.
        if error.connection_invalidated or not _has_jobs(database):
            raise
        raise NoRightsError(_missing(database)) from error


def _is_up_to_date(database: Database) -> bool:
    # As text: it is the first thing that is asked, and nothing else takes so long to compile.
    preparer = database.engine.dialect.identifier_preparer
    tables = database.tables
    # Of the columns that 3.x does not have, one stands for all.
    wanted = {"": "digest", **BESIDE}
    are_there = [
        f"NOT EXISTS (SELECT {preparer.quote(column)} "
        f"FROM {tables.name(preparer, suffix)} WHERE 1 = 0)"
        for suffix, column in wanted.items()
    ]
    questions = database.dialect.questions
    question = questions.of_text(
        f"SELECT {preparer.quote('value')} FROM {tables.name(preparer, '_meta')} "
        f"WHERE {preparer.quote('name')} = '{_VERSION}' AND {' AND '.join(are_there)}"
    )
    try:
        with database.read() as connection:
            version = questions.ask(connection, question, {}).scalar()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return False
    return version is not None and int(version) >= len(_STEPS)


def _has_jobs(database: Database) -> bool:
    try:
        with database.read() as connection:
            connection.execute(select(database.tables.jobs.c.id).limit(1)).all()
    except DBAPIError:
        return False
    return True


def _migrate(connection: Connection, tables: Tables) -> None:
    meta = tables.meta
    for table in (tables.jobs, *tables.beside):
        table.create(connection, checkfirst=True)
        _make_missing_indexes(connection, table)
    found = connection.scalar(select(meta.c.value).where(meta.c.name == _VERSION))
    done = int(found or 0)
    if done >= len(_STEPS):
        done = 0  # Somebody has dropped a table since.
    for step in _STEPS[done:]:
        step(connection, tables)
    if found is None:
        connection.execute(meta.insert(), {"name": _VERSION, "value": str(len(_STEPS))})
    else:
        connection.execute(
            meta.update().where(meta.c.name == _VERSION).values(value=str(len(_STEPS)))
        )


def _make_missing_indexes(connection: Connection, table: Table) -> None:
    """Make what somebody left out who was stopped between a table and its indexes."""
    found = inspect(connection).get_indexes(table.name, table.schema)
    names = {index["name"] for index in found}
    columns = [index["column_names"] for index in found]
    for index in table.indexes:
        # That of 3.x may have been made by hand, under another name.
        if index.name not in names and [c.name for c in index.columns] not in columns:
            index.create(connection)


def _columns_beside_those_of_3x(connection: Connection, tables: Tables) -> None:
    for statement in _alterations(connection, tables):
        connection.exec_driver_sql(statement)


_STEPS: list[Callable[[Connection, Tables], None]] = [_columns_beside_those_of_3x]


def _alterations(connection: Connection, tables: Tables) -> Iterator[str]:
    """Yield what makes a jobs table of 3.x one of ours."""
    dialect = connection.dialect
    jobs = tables.jobs
    name = dialect.identifier_preparer.format_table(jobs)
    columns = {
        column["name"]: column
        for column in inspect(connection).get_columns(jobs.name, jobs.schema)
    }
    add = "ADD" if dialect.name in {"mssql", "oracle"} else "ADD COLUMN"
    for column in JOB_COLUMNS_BESIDE:
        if column not in columns:
            type_ = jobs.c[column].type.compile(dialect)
            yield f"ALTER TABLE {name} {add} {column} {type_}"
    collation = getattr(columns["id"]["type"], "collation", None)
    if dialect.name in {"mysql", "mariadb"} and collation != "utf8mb4_bin":
        # Where "a" equals "A", two jobs would be one.
        type_ = jobs.c.id.type.compile(dialect)
        yield (
            f"ALTER TABLE {name} MODIFY id {type_} CHARACTER SET utf8mb4 "
            f"COLLATE utf8mb4_bin NOT NULL"
        )


def _missing(database: Database) -> list[str]:
    """Return what somebody with more rights would have to run, as SQL."""
    tables = database.tables
    with database.read() as connection:
        dialect = connection.dialect
        inspector = inspect(connection)
        statements = list(_alterations(connection, tables))
        for table in tables.beside:
            if not inspector.has_table(table.name, table.schema):
                statements.append(_sql(CreateTable(table), dialect))
                statements += [
                    _sql(CreateIndex(index), dialect)
                    for index in sorted(table.indexes, key=lambda index: str(index.name))
                ]
        meta = dialect.identifier_preparer.format_table(tables.meta)
    statements.append(f"INSERT INTO {meta} (name, value) VALUES ('{_VERSION}', '{len(_STEPS)}')")
    return statements


def _sql(element: Any, dialect: Any) -> str:
    return " ".join(str(element.compile(dialect=dialect)).split())
