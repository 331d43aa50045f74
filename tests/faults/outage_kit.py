"""A real scheduler with 50 jobs due each second, and what must hold after its store was away."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from fault_kit import (
    PATIENCE,
    RAN,
    assert_every_slot_is_answered_once,
    live_runs,
    ran,
    wait_for_runs,
    wait_until,
)
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool
from wire import Wire

from apscheduler.health import Health
from apscheduler.jobstores.base import BaseJobStore
from apscheduler.schedulers.background import BackgroundScheduler

JOBS = 50
SECOND = timedelta(seconds=1)


class Trial:
    """A scheduler that is to endure something."""

    def __init__(self, store: BaseJobStore) -> None:
        RAN.clear()
        self.scheduler = BackgroundScheduler(
            timezone="UTC",
            jobstores={"default": store},
            job_defaults={"misfire_grace_time": None},
            jobstore_retry_interval=1,
        )
        self.scheduler.start()
        begin = datetime.now(UTC)
        # A slow machine may add some of them too late for their first second.
        self._first = [
            self.scheduler.add_job(
                ran,
                "interval",
                seconds=1,
                start_date=begin + SECOND * number / JOBS,
                id=f"job-{number}",
            ).next_run_time
            for number in range(JOBS)
        ]

    def health(self) -> Health:
        """Return the health, which must be told whatever the store does."""
        told: list[Health] = []
        thread = threading.Thread(target=lambda: told.append(self.scheduler.health()), daemon=True)
        thread.start()
        thread.join(PATIENCE / 6)
        assert told, "health() does not answer"
        return told[0]

    def is_well(self) -> bool:
        return self.health().ok

    def is_stuck(self) -> bool:
        """Tell whether a turn has been going on for longer than any that is answered."""
        last_turn = self.scheduler._loop.last_turn
        return last_turn is not None and datetime.now(UTC) - last_turn > 1.5 * SECOND

    def fails(self) -> bool:
        """Tell whether it says that its store fails."""
        health = self.health()
        assert health.running
        error = health.stores["default"].error
        assert not (error and health.ok)
        return bool(error)

    def endures(self, outage: Callable[[], Any], *, tells: bool = True) -> None:
        """Let something happen, and see that the scheduler tells of it and goes on after it.

        :param outage: returns a context manager; within it the store is away
        """
        wait_for_runs(JOBS)
        with outage():
            if tells:
                wait_until(self.fails, "health() tells of the outage")
        wait_until(self.is_well, "all is well again")
        wait_for_runs(2 * JOBS)

    def assert_all_is_answered(self) -> None:
        """No slot has run twice, and none is without answer."""
        last = datetime.now(UTC) - SECOND
        self.scheduler.pause()
        wait_until(lambda: not live_runs(self.scheduler), "nothing is live")
        for number, first in enumerate(self._first):
            assert first is not None
            assert_every_slot_is_answered_once(
                self.scheduler, f"job-{number}", first, SECOND, last
            )


@contextmanager
def on_trial(store: BaseJobStore) -> Iterator[Trial]:
    trial = Trial(store)
    try:
        yield trial
        trial.assert_all_is_answered()
    finally:
        trial.scheduler.shutdown(wait=False)


class Strike:
    """Something that is done in the middle of what an engine does.

    :param seed: says in the middle of what
    """

    def __init__(self, engine: Engine, seed: int, strike: Callable[[], object]) -> None:
        self._strike = strike
        self._countdown = random.Random(seed).randrange(1, 100)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._wire = Wire(engine, self._count)

    def _count(self, number: int, done: bool, statement: str) -> None:
        with self._lock:
            self._countdown -= 1
            strikes = self._countdown == 0
        if strikes:
            try:
                self._strike()
            except BaseException as error:
                self._error = error
            self._over.set()

    def wait(self) -> None:
        """Wait until it has been done."""
        assert self._over.wait(PATIENCE)
        self._wire.cut()
        if self._error is not None:
            raise self._error


class Admin:
    """Whoever may do anything to a database."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self.database = self.engine.url.database
        self.is_postgresql = self.engine.dialect.name == "postgresql"

    def execute(self, *statements: str) -> list[Any]:
        """Execute statements; return the rows of the last one."""
        rows: list[Any] = []
        with self.engine.connect() as connection:
            for statement in statements:
                result = connection.execute(text(statement))
                rows = list(result) if result.returns_rows else []
        return rows

    def end_connections(self) -> None:
        """End all connections to the database but this one."""
        if self.is_postgresql:
            self.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return
        for (number,) in self.execute(
            "SELECT id FROM information_schema.processlist "
            "WHERE db = database() AND id <> connection_id()"
        ):
            self.execute(
                f"BEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR 1094 DO 0; KILL {number}; END"
            )


class Proxy:
    """Forwards connections to a server, until it is cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open = threading.Event()
        self._open.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Forward nothing any more, and let nobody know."""
        self._open.clear()

    def mend(self) -> None:
        """Forward what is new, and let those know who wait for what was lost."""
        self._close_all()
        self._open.set()

    def close(self) -> None:
        self._listener.close()
        self.mend()

    def _close_all(self) -> None:
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It is closed already.

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(here)
            threading.Thread(target=self._serve, args=(here,), daemon=True).start()

    def _serve(self, here: socket.socket) -> None:
        self._open.wait()
        try:
            there = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            here.close()
            return
        self._sockets.append(there)
        back = threading.Thread(target=self._pump, args=(there, here), daemon=True)
        back.start()
        self._pump(here, there)
        back.join()
        here.close()
        there.close()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if not self._open.is_set():
                    return  # It is lost; the connection stays as it is.
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
