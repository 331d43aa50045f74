"""Waiting for edits by others, on PostgreSQL."""

from __future__ import annotations

import hashlib
import os
import selectors
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

from apscheduler import _fork
from apscheduler.jobstores._sql.database import Database

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def _taken_by_psycopg(raw: Any) -> bool:
    raw.pgconn.consume_input()
    taken = False
    while raw.pgconn.notifies() is not None:
        taken = True
    return taken


def _taken_by_psycopg2(raw: Any) -> bool:
    raw.poll()
    taken = bool(raw.notifies)
    raw.notifies.clear()
    return taken


#: What takes the notifications that have come to a connection, and tells whether there were any.
_TAKE: dict[str, Callable[[Any], bool]] = {
    "psycopg": _taken_by_psycopg,
    "psycopg2": _taken_by_psycopg2,
}


#: Seconds to rest before another connection, if the last one broke before it was of any use.
REST = 1.0


class Watch:
    """Waits, on a connection of its own, until somebody tells of an edit.

    It waits in a selector, which costs nothing; the drivers' own ways of waiting do. One thread at
    a time may wait.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        place = hashlib.blake2b(database.dialect.jobs_name.encode(), digest_size=8).hexdigest()
        self._channel = f"apscheduler_{place}"
        self._tells = database.dialect.notifies
        self._take = _TAKE.get(database.driver)
        # The connection, and a pipe that ends the wait; both belong to the thread that waits, or
        # to nobody.
        self._connection: Any = None
        self._pipe: tuple[int, int] | None = None
        self._waiting = False
        self._ended = False
        self._rests = False
        self._lock = Lock()

    @property
    def is_possible(self) -> bool:
        return self._tells and self._take is not None

    def tell(self, connection: Connection) -> None:
        """Tell the others of an edit, if its transaction is committed."""
        if self._tells:
            connection.exec_driver_sql(f"NOTIFY {self._channel}")

    def wait(self, timeout: float) -> bool:
        """Wait for an edit; return whether there was one, or it may have been."""
        with self._lock:
            self._ended = False
            self._waiting = True
            if self._pipe is None:
                self._pipe = os.pipe()
        try:
            return self._wait(timeout, self._pipe[0])
        finally:
            with self._lock:
                self._waiting = False
                if self._ended:
                    self._let_go()

    def _wait(self, timeout: float, end: int) -> bool:
        assert self._take is not None
        if self._connection is None:
            if self._rests and _ready([end], min(timeout, REST)):
                return False
            self._connection = self._listen()
            self._rests = True
            return True  # What was done before, nobody has told us.
        raw = self._connection.dbapi_connection
        try:
            heard = self._take(raw)
            if not heard and raw.fileno() in _ready([raw.fileno(), end], timeout):
                self._take(raw)
                heard = True  # If that was no word of an edit, it was the server's last.
            self._rests = False
            return heard
        except Exception:
            # The connection is broken, and what was told meanwhile is lost.
            self._disconnect()
            return True

    def _listen(self) -> Any:
        connection = self._database.engine.raw_connection()
        # It is none of the pool's any more, so that there is room for those who work.
        connection.detach()
        raw: Any = connection.dbapi_connection
        raw.rollback()
        raw.autocommit = True
        with raw.cursor() as cursor:
            cursor.execute(f"LISTEN {self._channel}")
        return connection

    def end(self) -> None:
        """End a wait, and let go of what it holds."""
        with self._lock:
            self._ended = True
            if self._waiting and self._pipe is not None:
                os.write(self._pipe[1], b"\0")
            elif not self._waiting:
                self._let_go()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.dbapi_connection.close()

    def _let_go(self) -> None:
        self._disconnect()
        self._rests = False
        pipe, self._pipe = self._pipe, None
        for end in pipe or ():
            os.close(end)

    def after_fork(self) -> None:
        """Let go of what belongs to the parent, without closing it for both."""
        _fork.keep((self._connection, self._pipe))


def _ready(places: list[int], timeout: float) -> set[int]:
    """Return which files can be read from, as soon as there is one."""
    # Not `select`, which takes no file whose number is beyond 1023.
    with selectors.DefaultSelector() as selector:
        for place in places:
            selector.register(place, selectors.EVENT_READ)
        return {key.fd for key, _ in selector.select(max(timeout, 0))}
