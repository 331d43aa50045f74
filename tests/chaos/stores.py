"""The stores that a trial can have, and what can be done to them."""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from chaos.nemesis import TO_FILES, TO_SERVERS, Blow
from servers.servers import MariaDBServer, PostgreSQLServer, Server


class Store(ABC):
    """An empty database, for as long as a ``with`` block.

    :ivar url: that of SQLAlchemy
    :ivar kinds: what can be done to it
    """

    url: str
    kinds: Sequence[str]

    @abstractmethod
    def strike(self, blow: Blow) -> None:
        """Do what was planned, and return when it is over."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""


class File(Store):
    """A file of SQLite."""

    kinds = TO_FILES

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/jobs.sqlite"

    def strike(self, blow: Blow) -> None:
        engine = create_engine(self.url, poolclass=NullPool, connect_args={"timeout": 60})
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            threading.Event().wait(blow.seconds)
            connection.rollback()

    def close(self) -> None:
        pass


class Served(Store):
    """A database of a server of our own."""

    kinds = TO_SERVERS

    def __init__(self, server: Server) -> None:
        self._server = server
        self._name = server.create_database()
        self.url = server.url(self._name)

    def strike(self, blow: Blow) -> None:
        if blow.kind == "cut":
            self._cut(blow.choice)
            return
        if blow.kind == "stop server":
            self._server.stop()
        else:
            self._server.kill()
        threading.Event().wait(blow.seconds)
        self._server.start()

    def _cut(self, choice: float) -> None:
        """Cut about half of the connections."""
        chance = random.Random(choice)
        question, answer = (
            (
                "SELECT pid FROM pg_stat_activity WHERE datname = '{}'",
                "SELECT pg_terminate_backend({})",
            )
            if isinstance(self._server, PostgreSQLServer)
            else ("SELECT id FROM information_schema.processlist WHERE db = '{}'", "KILL {}")
        )
        for (connection,) in self._server.execute(question.format(self._name)):
            if chance.random() < 0.5:
                try:
                    self._server.execute(answer.format(connection))
                except SQLAlchemyError:
                    pass  # It has ended by itself.

    def close(self) -> None:
        self._server.close()


def make_store(kind: str, folder: Path) -> Store:
    """Return an empty database.

    :raises MissingServerError: if its server is not installed
    """
    match kind:
        case "sqlite":
            return File(folder)
        case "postgresql":
            return Served(PostgreSQLServer(durable=False))
        case "mariadb":
            return Served(MariaDBServer(durable=False))
    raise ValueError(f"store must be one of {', '.join(KINDS)}, got {kind!r}")


KINDS = ("sqlite", "postgresql", "mariadb")
