"""Connections and transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.pool import StaticPool

from apscheduler import _fork
from apscheduler.jobstores._sql.dialects import Dialect
from apscheduler.jobstores._sql.schema import Tables
from apscheduler.jobstores._sql.servers import dialect_of

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine


#: The number of SQLite's level FULL.
_FULL: Final = 2


class Database:
    """An engine, as the store uses it: with transactions that it knows the kind of.

    The engine itself stays as it is; others may use it too.
    """

    def __init__(self, engine: Engine, tables: Tables) -> None:
        self.tables = tables
        self.engine = engine
        self.dialect = Dialect(engine, tables)
        #: Whether this is an SQLite file that we write ahead, each transaction to the disk.
        self.writes_ahead = False
        # What transactions, and questions outside of any, are to be isolated as.
        self._writing: str | None = None
        self._reading: str | None = None
        self._begin_alone()

    def _begin_alone(self) -> None:
        # Threads may share one connection: then one of them has it at a time.
        shares = isinstance(self.engine.pool, StaticPool)
        self._alone: Any = RLock() if shares else nullcontext()

    def after_fork(self) -> None:
        """Let go of the connections, which are the parent's, without closing them."""
        _fork.keep(self.engine.pool)
        self.engine.dispose(close=False)
        self.tables.after_fork()
        self._begin_alone()

    @property
    def driver(self) -> str:
        return self.engine.dialect.driver

    def meet(self, dialect: type[Dialect] | None = None) -> None:
        """Find out what the database can do.

        :param dialect: what it is taken to be able to do, whatever it can
        """
        with self._alone, self.engine.connect():
            pass  # With the first connection, its version is known.
        if dialect is None:
            self.dialect = dialect_of(self.engine, self.tables)
        else:
            self.dialect = dialect(self.engine, self.tables)
        self._writing = self._reading = self.dialect.isolation
        if self.engine.dialect.name == "postgresql":
            # A setting of the connection, which costs nothing, in place of BEGIN and ROLLBACK.
            self._reading = "AUTOCOMMIT"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Lend a connection for questions, each of which is answered as of its own moment."""
        with self._alone, self.engine.connect() as connection:
            _isolate(connection, self._reading)
            yield connection

    @contextmanager
    def begin(self, lasting: bool = True) -> Iterator[Connection]:
        """Lend a connection in a transaction that may write.

        :param lasting: whether what is written is not to be lost if the machine loses its power
        """
        with self._alone, self.engine.connect() as connection:
            _isolate(connection, self._writing)
            with (
                nullcontext() if lasting or not self.writes_ahead else _not_waiting(connection),
                connection.begin(),
            ):
                if self.dialect.locks_all:
                    self._lock_all(connection)
                yield connection

    def _lock_all(self, connection: Connection) -> None:
        raw: Any = connection.connection.dbapi_connection
        # What a transaction begins with depends on how the engine was made. A read in it before
        # the write lock is taken would make it fail as soon as somebody else has written.
        if raw.in_transaction:
            connection.exec_driver_sql(
                f"UPDATE {self.dialect.jobs_name} SET next_run_time = NULL WHERE 0 = 1"
            )
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    @contextmanager
    def alter(self) -> Iterator[Connection]:
        """Lend a connection that may change tables, to one process at a time."""
        with self._alone, self.engine.connect() as connection:
            _isolate(connection, self._writing)
            raw: Any = connection.connection.dbapi_connection
            transaction = connection.begin()
            if self.dialect.locks_all and not raw.in_transaction:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            self.dialect.lock_for_migration(connection)
            try:
                yield connection
                transaction.commit()
            finally:
                if transaction.is_active:
                    transaction.rollback()
                self.dialect.unlock_after_migration(connection)


@contextmanager
def _not_waiting(connection: Connection) -> Iterator[None]:
    """Let a transaction with an SQLite file not wait for the disk; others see it as ever.

    The next one that waits takes along what was written before it.
    """
    raw: Any = connection.connection.dbapi_connection
    if raw.execute("PRAGMA synchronous").fetchone() != (_FULL,):
        yield  # That is what the program wants.
        return
    try:
        raw.execute("PRAGMA synchronous = NORMAL")
        yield
    finally:
        try:
            raw.execute(f"PRAGMA synchronous = {_FULL}")
        except BaseException:
            connection.invalidate()  # Nobody else is to be lent it like that.
            raise


def _isolate(connection: Connection, level: str | None) -> None:
    # Asked of each connection, not of an engine made for it: that engine would not hear of a
    # connection that turns out to be broken, and the pool would lend it again.
    if level is not None:
        connection.execution_options(isolation_level=level)
