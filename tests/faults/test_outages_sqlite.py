"""An SQLite file is full, locked, read-only or out of reach while 50 jobs a second are due."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from fault_kit import sqlite_url
from outage_kit import on_trial
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import TimeoutError
from sqlalchemy.pool import QueuePool

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore

pytestmark = pytest.mark.slow

LOCKING = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
connection.rollback()
"""


@pytest.fixture
def engine() -> Iterator[Engine]:
    with sqlite_url() as url:
        engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=3,
            max_overflow=0,
            pool_timeout=0.2,
            connect_args={"timeout": 0.2},
        )
        yield engine
        engine.dispose()


class Pragma:
    """A setting that each connection of an engine gets as it is lent."""

    def __init__(self, engine: Engine, name: str, otherwise: int) -> None:
        self._engine, self._name, self._otherwise = engine, name, otherwise
        self._value = otherwise
        event.listen(engine, "checkout", self._set)

    def _set(self, connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA {self._name} = {self._value}")

    @contextmanager
    def set_to(self, value: int) -> Iterator[None]:
        self._value = value
        yield
        self._value = self._otherwise


def test_a_full_disk_is_endured(engine: Engine) -> None:
    pragma = Pragma(engine, "max_page_count", 1_000_000)
    with on_trial(SQLAlchemyJobStore(engine=engine)) as trial:
        trial.endures(lambda: pragma.set_to(1))  # No page more than there are.


def test_a_file_that_can_only_be_read_is_endured(engine: Engine) -> None:
    pragma = Pragma(engine, "query_only", 0)
    with on_trial(SQLAlchemyJobStore(engine=engine)) as trial:
        trial.endures(lambda: pragma.set_to(1))


def test_a_file_that_another_process_keeps_locked_is_endured(engine: Engine) -> None:
    @contextmanager
    def locked() -> Iterator[None]:
        command = [sys.executable, "-c", LOCKING, str(engine.url.database)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdin is not None
            assert other.stdout.readline() == b"locked\n"
            yield
            other.stdin.close()

    with on_trial(SQLAlchemyJobStore(engine=engine)) as trial:
        trial.endures(locked)


def test_a_pool_of_which_all_connections_are_lent_is_endured(engine: Engine) -> None:
    @contextmanager
    def all_lent() -> Iterator[None]:
        lent: list[Any] = []
        while len(lent) < 3:
            with suppress(TimeoutError):
                lent.append(engine.raw_connection())
        yield
        for connection in lent:
            connection.close()

    with on_trial(SQLAlchemyJobStore(engine=engine)) as trial:
        trial.endures(all_lent)
