"""Engines of our own, for URLs that a program gives."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool, StaticPool

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine

#: Seconds for which a connection waits for others to let go of an SQLite file.
SQLITE_TIMEOUT = 30
#: Seconds for which one waits for a connection that others have.
POOL_TIMEOUT = 10
#: When a server that has fallen silent is given up, by driver. Left to itself, TCP may take a
#: quarter of an hour. PyMySQL cannot tell silence from a long answer, such as to an ALTER TABLE.
_LIBPQ = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
_PATIENCE: dict[str, dict[str, Any]] = {
    "psycopg": _LIBPQ,
    "psycopg2": _LIBPQ,
    "pymysql": {"read_timeout": 120, "write_timeout": 30},
}
#: Seconds for which others may keep us from changing how an SQLite file is written.
WAL_PATIENCE = 5.0


def make_engine(url: Any, options: Mapping[str, Any]) -> Engine:
    """Return an engine for a URL; what the program asks of it stands above what we would choose.

    :param options: arguments of `sqlalchemy.create_engine`
    """
    made = make_url(url)
    if made.get_backend_name() == "sqlite":
        return _sqlite_engine(made, dict(options))
    chosen: dict[str, Any] = {}
    if "poolclass" not in options and "pool" not in options:
        # A third connection may wait for edits by others. Nobody waits for one of the two longer
        # than until he has to say again that he is alive.
        chosen = {"pool_size": 2, "max_overflow": 0, "pool_timeout": POOL_TIMEOUT}
    if "connect_args" not in options and "creator" not in options:
        chosen["connect_args"] = _PATIENCE.get(made.get_dialect().driver, {})
    if "isolation_level" not in options and made.get_backend_name() in {"mysql", "mariadb"}:
        # What a store asks for at each transaction, this makes the state of the connections.
        chosen["isolation_level"] = "READ COMMITTED"
    return create_engine(made, **{**chosen, **options})


def _sqlite_engine(url: URL, options: dict[str, Any]) -> Engine:
    connect_args = {"timeout": SQLITE_TIMEOUT}
    if _is_in_memory(url):
        # There, each connection would be a database of its own.
        connect_args["check_same_thread"] = False
        options.setdefault("poolclass", StaticPool)
    elif "poolclass" not in options and "pool" not in options and _is_pooled(url):
        # What a connection has read stays of use to it as long as no other one writes.
        options.setdefault("pool_use_lifo", True)
    options["connect_args"] = {**connect_args, **options.get("connect_args", {})}
    engine = create_engine(url, **options)
    event.listen(engine, "connect", _write_fully)
    return engine


def _is_pooled(url: URL) -> bool:
    """Tell whether connections are kept, by default; that depends on the version of SQLAlchemy."""
    dialect: Any = url.get_dialect()
    return issubclass(dialect.get_pool_class(url), QueuePool)


def _is_in_memory(url: URL) -> bool:
    name = url.database or ":memory:"
    return ":memory:" in name or url.query.get("mode") == "memory" or "mode=memory" in name


def _write_fully(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA synchronous = FULL")


def write_ahead(engine: Engine) -> bool:
    """Let readers and the writer of an SQLite file not wait for each other; return if they do."""
    deadline = time.monotonic() + WAL_PATIENCE
    while True:
        try:
            with engine.connect() as connection:
                raw: Any = connection.connection.dbapi_connection
                if raw.in_transaction:
                    return False
                mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar()
            return str(mode).lower() == "wal"
        except OperationalError as error:
            # Others who do the same, or a file that cannot be written.
            if "locked" not in str(error) or time.monotonic() > deadline:
                return False
            time.sleep(0.05)
