"""Servers and empty databases for tests; started at first use, and only once for all processes.

Where a server is not installed, tests that need it are left out, except with CI set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from servers.servers import (
    MariaDBServer,
    MissingServerError,
    PostgreSQLServer,
    Server,
    shared_server,
)


@pytest.fixture
def postgresql_url(_shared_postgresql: Server) -> Iterator[str]:
    """Lend an empty PostgreSQL database, as its SQLAlchemy URL."""
    with _shared_postgresql.database() as url:
        yield url


@pytest.fixture
def mariadb_url(_shared_mariadb: Server) -> Iterator[str]:
    """Lend an empty MariaDB database, as its SQLAlchemy URL."""
    with _shared_mariadb.database() as url:
        yield url


@pytest.fixture
def postgresql_server() -> Iterator[Server]:
    """Lend a PostgreSQL that a test may stop, kill and start again."""
    with _left_out_if_missing(), PostgreSQLServer(durable=False) as server:
        yield server


@pytest.fixture
def mariadb_server() -> Iterator[Server]:
    """Lend a MariaDB that a test may stop, kill and start again."""
    with _left_out_if_missing(), MariaDBServer(durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def _shared_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with _left_out_if_missing(), shared_server(PostgreSQLServer, _of_all(tmp_path_factory)) as it:
        yield it


@pytest.fixture(scope="session")
def _shared_mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with _left_out_if_missing(), shared_server(MariaDBServer, _of_all(tmp_path_factory)) as it:
        yield it


def _of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the temporary folder that the processes of this test run have in common."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@contextmanager
def _left_out_if_missing() -> Iterator[None]:
    try:
        yield
    except MissingServerError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"NOT tested: {error}")
