"""The servers that tests are lent hold what their fixtures say of them."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from programs import ROOT
from servers.servers import (
    MariaDBServer,
    MissingServerError,
    PostgreSQLServer,
    Server,
    shared_server,
)

pytestmark = pytest.mark.slow

KINDS = [PostgreSQLServer, MariaDBServer]
#: Seconds that a program may take.
PATIENCE = 50


def query(url: str, *statements: str) -> list[object]:
    """Execute statements in a database, and return the first column of the last one's rows."""
    with create_engine(url, poolclass=NullPool).begin() as connection:
        for statement in statements[:-1]:
            connection.execute(text(statement))
        return list(connection.execute(text(statements[-1])).scalars())


@pytest.fixture(params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Server:
    found = request.getfixturevalue(f"{request.param}_server")
    assert isinstance(found, Server)
    return found


@pytest.mark.parametrize("again", [False, True])
def test_each_test_has_an_empty_database(url: str, again: bool) -> None:
    assert query(url, "CREATE TABLE t (x INT)", "INSERT INTO t VALUES (7)", "SELECT x FROM t") == [
        7
    ]


def test_a_database_that_is_in_use_can_be_dropped(server: Server) -> None:
    name = server.create_database()
    engine = create_engine(server.url(name))
    with engine.connect() as user:
        user.execute(text("CREATE TABLE t (x INT)"))
        user.execute(text("INSERT INTO t VALUES (7)"))
        server.drop_database(name)
        user.invalidate()
    with pytest.raises(DBAPIError):
        query(server.url(name), "SELECT 1")
    engine.dispose()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_server_that_was_ended_is_gone_until_it_is_started(server: Server, end: str) -> None:
    url, first = server.url(server.create_database()), server.pid
    query(url, "CREATE TABLE t (x INT)", "INSERT INTO t VALUES (7)", "SELECT x FROM t")
    getattr(server, end)()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    with pytest.raises(DBAPIError):
        query(url, "SELECT 1")
    server.start()
    assert query(url, "SELECT x FROM t") == [7]
    assert server.pid != first


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_runs_as_nobody_of_importance(kind: type[Server]) -> None:
    with kind(durable=False) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        assert server.folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_server_leaves_nothing_behind(kind: type[Server]) -> None:
    with kind(durable=False) as server:
        pid, folder = server.pid, server.folder
        server.kill()
        server.start()
    assert not folder.exists()
    for number in (pid, server.pid):
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_those_who_share_a_server_have_one_and_the_last_one_ends_it(
    kind: type[Server], tmp_path: Path
) -> None:
    with ThreadPoolExecutor(4) as threads:
        managers = [shared_server(kind, tmp_path) for _ in range(4)]
        lent = list(threads.map(lambda manager: manager.__enter__(), managers))
    assert len({(server.pid, server.port) for server in lent}) == 1
    for manager in managers:
        assert lent[-1].execute("SELECT 7") == [(7,)]
        manager.__exit__(None, None, None)
    assert not lent[0].folder.exists()

    with shared_server(kind, tmp_path) as another:
        assert another.folder != lent[0].folder
        assert another.execute("SELECT 7") == [(7,)]


PROGRAM = """
import sys
sys.path.insert(0, "tests")
from pathlib import Path
from servers.servers import *
manager = shared_server(getattr(sys.modules["servers.servers"], sys.argv[1]), Path(sys.argv[2]))
with manager as server:
    print(server.folder, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_ends_with_its_users_though_they_be_killed(
    kind: type[Server], tmp_path: Path
) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind.__name__, tmp_path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with starter:
        assert starter.stdout is not None
        folder = Path(starter.stdout.readline().decode().strip())
        with shared_server(kind, tmp_path) as server:
            starter.kill()
            starter.wait(PATIENCE)
            assert server.folder == folder
            assert server.execute("SELECT 7") == [(7,)]
    assert not folder.exists()


def test_a_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgreSQLServer, "programs", ("no-such-program",))
    with pytest.raises(MissingServerError, match="no-such-program is not installed"):
        PostgreSQLServer()


TEST_OF_A_MISSING_SERVER = """
import pytest
from servers.servers import PostgreSQLServer

@pytest.fixture(autouse=True, scope="session")
def missing():
    PostgreSQLServer.programs = ("no-such-program",)

def test_it(postgresql_url): ...
def test_that(postgresql_server): ...
"""


@pytest.mark.parametrize(("ci", "outcome"), [(None, "2 skipped"), ("true", "2 errors")])
def test_without_the_server_its_tests_are_left_out_but_fail_in_ci(
    ci: str | None, outcome: str, tmp_path: Path
) -> None:
    (tmp_path / "test_missing.py").write_text(TEST_OF_A_MISSING_SERVER)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "servers.fixtures", tmp_path],
        env={**environment, "PYTHONPATH": str(ROOT / "tests"), **({"CI": ci} if ci else {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert outcome in done.stdout
    assert "no-such-program is not installed" in done.stdout
