"""An empty database for each measurement, on a server that starts when one is first needed."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.servers.servers import Server

JOURNALS = {"sqlite": None, "sqlite rollback": "DELETE", "sqlite WAL": "WAL"}
"""What is a file, and the journal mode that both sides are to use; None leaves it to the store."""


class MissingDatabaseError(Exception):
    """The server that a scenario needs is not installed."""


@contextmanager
def provided(options: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Give the options of a scenario with an empty database in place of the name of a store.

    :raises MissingDatabaseError: if this machine has none of the kind
    """
    given = dict(options)
    store = given.pop("store", None)
    if store is None:
        yield given
    elif store in JOURNALS:
        with tempfile.TemporaryDirectory(prefix="apscheduler-benchmark-") as folder:
            url = f"sqlite:///{Path(folder, 'jobs.db')}"
            yield given | {"database": {"url": url, "journal": JOURNALS[store]}}
    else:
        server = server_of(store)
        with server.database() as url:
            yield given | {"database": {"url": url, "server": server.pid}}


@cache
def server_of(kind: Any) -> Server:
    """Return the server of a kind, which lives as long as this process.

    It writes to the disk before it confirms a commit, as it does where nobody configures it.
    """
    from tests.servers import servers

    try:
        server = {
            "postgresql": servers.PostgreSQLServer,
            "mariadb": servers.MariaDBServer,
        }[kind]()
    except servers.MissingServerError as missing:
        raise MissingDatabaseError(str(missing)) from None
    atexit.register(server.close)
    return server
