"""PostgreSQL and MariaDB, started for one purpose and gone after it.

.. code-block:: python

    with PostgreSQLServer() as server:
        engine = create_engine(server.url(server.create_database()))

Needs SQLAlchemy and the drivers psycopg and PyMySQL, and the servers' programs on this machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

HOST = "127.0.0.1"
#: How many seconds a server may take for what it is asked to do.
PATIENCE = 60.0
#: Whom servers run as when we are root, which they refuse to be.
UNPRIVILEGED = "nobody"
#: Below the ports that systems give to outgoing connections.
PORTS = range(20_000, 32_000)

_KEEPER = Path(__file__).with_name("keeper.py")
#: Processes of ours whose servers others still use; forgotten ones would be warned of.
_outlasting: list[subprocess.Popen[bytes]] = []


class MissingServerError(Exception):
    """A program that a server needs is not installed."""


class Server(ABC):
    """A server of our own, which runs until `close`, or until this process ends in any way.

    Its data are in a folder that vanishes with it.

    :param durable: whether a commit is on the disk before it is confirmed. If not, commits are
        faster; they outlive the server, but would not outlive the machine
    """

    #: Programs that it needs, and where they may be if they are not on the path.
    programs: ClassVar[tuple[str, ...]]
    places: ClassVar[tuple[str, ...]]
    #: What ends it in good order; and what ends it at once, when its data are of no use any more.
    stop_signal: ClassVar[signal.Signals]
    last_signal: ClassVar[signal.Signals]
    #: Where `execute` connects to, and how it asks where the data are.
    home_database: ClassVar[str]
    where: ClassVar[str]

    folder: Path
    port: int
    pid: int

    def __init__(self, *, durable: bool = True) -> None:
        self._durable = durable
        self._programs = {name: _find(name, self.places) for name in self.programs}
        self._keepers: list[subprocess.Popen[bytes]] = []
        self.folder = Path(tempfile.mkdtemp(prefix="apscheduler-server-"))
        (self.folder / "users").touch()
        self._users = _hold(self.folder)
        try:
            self._owner = _give_away(self.folder)
            self._initialize()
            self._start_somewhere()
        except BaseException:
            if not self._keepers:
                shutil.rmtree(self.folder)
            self.close()
            raise

    @classmethod
    def joined(cls, folder: Path, port: int, pid: int) -> Self:
        """Return a server that another process has started, and keep it running.

        :raises OSError: if it does not run any more
        """
        server = cls.__new__(cls)
        server._users = _hold(folder)
        server._keepers = []
        server.folder, server.port, server.pid = folder, port, pid
        return server

    def close(self) -> None:
        """Say that it is needed here no more; if it is needed nowhere, wait for its end."""
        last = _is_last(self._users)
        for keeper in self._keepers:
            assert keeper.stdout is not None
            keeper.stdout.close()
        if not last:
            _outlasting.extend(self._keepers)
            return
        deadline = time.monotonic() + PATIENCE
        while self.folder.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self} does not end")
            time.sleep(0.01)
        for keeper in self._keepers:
            keeper.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in {self.folder}>"

    # -- its life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it again, on the port that it had, and wait until it answers."""
        deadline = time.monotonic() + PATIENCE
        # Of a server that was killed, some processes may need a moment to notice it.
        while not self._starts():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self} does not start: {self.log()}")

    def stop(self) -> None:
        """Stop it in good order, and wait for its end."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """Kill it, and wait for its end."""
        self._end(signal.SIGKILL)

    def log(self) -> str:
        """Return the last that it has written to its log."""
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def _end(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)
        if not self._has_ended(PATIENCE):
            raise TimeoutError(f"{self} does not end: {self.log()}")

    def _initialize(self) -> None:
        owner = self._owner
        done = subprocess.run(
            self._initialization(),
            cwd=self.folder,
            env=self._environment(),
            user=owner.pw_uid if owner else None,
            group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if done.returncode:
            raise RuntimeError(f"{self} cannot be set up: {done.stdout}{done.stderr}")

    def _environment(self) -> dict[str, str]:
        # MariaDB deletes what others of its kind keep in the folder for temporary files.
        return {**os.environ, "TMPDIR": str(self.folder)}

    def _start_somewhere(self) -> None:
        for _ in range(10):
            self.port = _free_port()
            if self._starts():
                return
        raise RuntimeError(f"{self} does not start: {self.log()}")

    def _starts(self) -> bool:
        owner = f"{self._owner.pw_uid}:{self._owner.pw_gid}" if self._owner else ""
        last_signal = str(int(self.last_signal))
        keeper = subprocess.Popen(
            [
                *(sys.executable, "-S", "-I", str(_KEEPER)),
                *(str(self.folder), owner, last_signal),
                *map(str, self._command()),
            ],
            env=self._environment(),
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # the interrupt of a terminal is not for them
        )
        self._keepers.append(keeper)
        assert keeper.stdout is not None
        self.pid = int(keeper.stdout.readline())
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._has_ended(0.02):
                return False
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self} does not answer: {self.log()}")
        return True

    def _has_ended(self, timeout: float) -> bool:
        stdout = self._keepers[-1].stdout
        assert stdout is not None
        readable, _, _ = select.select([stdout], [], [], timeout)
        return bool(readable)

    def _answers(self) -> bool:
        try:
            ((where,),) = self.execute(self.where)
        except SQLAlchemyError:
            return False
        # Another server may have been given the port meanwhile.
        return Path(where).resolve() == self._data.resolve()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @abstractmethod
    def _initialization(self) -> Sequence[str | Path]:
        """Return the command that makes the folder of the data."""

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """Return the command that is the server."""

    # -- databases ------------------------------------------------------------------------------

    @abstractmethod
    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""

    def create_database(self) -> str:
        """Create an empty database, and return its name."""
        name = f"test_{uuid.uuid4().hex[:16]}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    @abstractmethod
    def drop_database(self, name: str) -> None:
        """Delete a database, whoever is connected to it."""

    @contextmanager
    def database(self) -> Iterator[str]:
        """Lend an empty database, as its SQLAlchemy URL."""
        name = self.create_database()
        yield self.url(name)
        self.drop_database(name)

    def execute(self, statement: str) -> list[Any]:
        """Execute a statement outside of transactions, and return its rows."""
        engine = create_engine(
            self.url(self.home_database),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": 10},
        )
        with engine.connect() as connection:
            result = connection.execute(text(statement))
            return list(result) if result.returns_rows else []


class PostgreSQLServer(Server):
    """PostgreSQL, with the superuser "postgres", who needs no password."""

    programs = ("initdb", "postgres")
    places = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/bin")
    stop_signal = signal.SIGINT
    last_signal = signal.SIGQUIT
    home_database = "postgres"
    where = "SHOW data_directory"

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@{HOST}:{self.port}/{database}"

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _initialization(self) -> Sequence[str | Path]:
        options = "--username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync"
        return [self._programs["initdb"], f"--pgdata={self._data}", *options.split()]

    def _command(self) -> Sequence[str | Path]:
        settings = {
            "port": self.port,
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_connections": 200,
        }
        if not self._durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        given = [f"--{name}={value}" for name, value in settings.items()]
        return [self._programs["postgres"], "-D", self._data, *given]


class MariaDBServer(Server):
    """MariaDB, with the superuser "root", who needs no password."""

    programs = ("mariadb-install-db", "mariadbd")
    places = ("/usr/sbin", "/usr/local/sbin", "/usr/local/mysql/bin", "/opt/homebrew/bin")
    stop_signal = signal.SIGTERM
    last_signal = signal.SIGKILL
    home_database = "mysql"
    where = "SELECT @@datadir"

    def url(self, database: str) -> str:
        return f"mysql+pymysql://root@{HOST}:{self.port}/{database}"

    def drop_database(self, name: str) -> None:
        # It would wait for transactions that are still open.
        users = f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"
        for (connection,) in self.execute(users):
            try:
                self.execute(f"KILL {connection}")
            except SQLAlchemyError:  # it has ended by itself
                pass
        self.execute(f"DROP DATABASE {name}")

    def _initialization(self) -> Sequence[str | Path]:
        options = "--no-defaults --skip-test-db --auth-root-authentication-method=normal"
        program = self._programs["mariadb-install-db"]
        return [program, *options.split(), f"--datadir={self._data}"]

    def _command(self) -> Sequence[str | Path]:
        settings = {
            "datadir": self._data,
            "port": self.port,
            "bind-address": HOST,
            "socket": self.folder / "socket",
            "pid-file": self.folder / "pid",
            "skip-name-resolve": 1,
            "character-set-server": "utf8mb4",
            "max-connections": 200,
        }
        if not self._durable:
            settings |= {"innodb-flush-log-at-trx-commit": 2, "innodb-doublewrite": 0}
        given = [f"--{name}={value}" for name, value in settings.items()]
        return [self._programs["mariadbd"], "--no-defaults", *given]


@contextmanager
def shared_server(kind: type[Server], meeting_place: Path) -> Iterator[Server]:
    """Lend the one server of a kind that all processes use which name the same folder.

    The first one starts it, and it ends with the last one. It is not durable.
    """
    record = meeting_place / f"{kind.__name__}.json"
    with (meeting_place / f"{kind.__name__}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            folder, port, pid = json.loads(record.read_text())
            server = kind.joined(Path(folder), port, pid)
        except OSError:
            server = kind(durable=False)
            record.write_text(json.dumps([str(server.folder), server.port, server.pid]))
    with server:
        yield server


def _hold(folder: Path) -> int:
    """Keep a server running, by the lock that is described in `keeper`."""
    file = os.open(folder / "users", os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        (folder / "users").stat()  # its end may have come in between
    except OSError:
        os.close(file)
        raise
    return file


def _is_last(users: int) -> bool:
    """Let go of a server, and tell whether nobody else uses it."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(users)


def _give_away(folder: Path) -> pwd.struct_passwd | None:
    """Let a folder belong to whom the server runs as; return who that is, if not ourselves."""
    if os.geteuid() != 0:
        return None
    owner = pwd.getpwnam(UNPRIVILEGED)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    return owner


def _free_port() -> int:
    while True:
        port = random.choice(PORTS)
        with socket.socket() as candidate:
            try:
                candidate.bind((HOST, port))
            except OSError:
                continue
            return port


def _find(program: str, places: Sequence[str]) -> str:
    """Return the path of a program, the newest if there are several.

    :raises MissingServerError: if there is none
    """
    if found := shutil.which(program):
        return found
    folders = [str(folder) for place in places for folder in Path("/").glob(place[1:])]
    for folder in sorted(folders, key=_numbers_in, reverse=True):
        if found := shutil.which(program, path=folder):
            return found
    raise MissingServerError(f"{program} is not installed; scripts/test installs it if it is root")


def _numbers_in(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
