"""The suite of shared job stores, with what of it needs SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from apscheduler.jobstores.base import SharedJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.testing import SharedJobStoreSuite

TABLE = "apscheduler_jobs"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SharedSQLSuite(SharedJobStoreSuite):
    """What every database must hold; a subclass sets `url` to that of an empty one."""

    url: str

    def make_store(self) -> SharedJobStore:
        return SQLAlchemyJobStore(self.url)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with create_engine(self.url, poolclass=NullPool).begin() as connection:
            yield connection

    def expire_lease(self, store: SharedJobStore, node_id: str) -> None:
        ended = (datetime.now(UTC) - timedelta(minutes=1) - EPOCH) // timedelta(microseconds=1)
        expire = f"UPDATE {TABLE}_nodes SET alive_until = :ended WHERE id = :id"
        with self.transaction() as connection:
            done = connection.execute(text(expire), {"ended": ended, "id": node_id})
        assert done.rowcount == 1

    def forget_additions(self, store: SharedJobStore, *job_ids: str) -> None:
        with self.transaction() as connection:
            columns = connection.execute(text(f"SELECT * FROM {TABLE}")).keys()
            added = set(columns) - {"id", "next_run_time", "job_state"}
            nothing = ", ".join(f"{column} = NULL" for column in added)
            forget = f"UPDATE {TABLE} SET {nothing} WHERE id = :id"
            connection.execute(text(forget), [{"id": id} for id in job_ids])

    def spoil(self, store: SharedJobStore, *job_ids: str) -> Callable[[], None]:
        with self.transaction() as connection:
            rows = connection.execute(text(f"SELECT id, job_state FROM {TABLE}"))
            states = {id: bytes(state) for id, state in rows if id in set(job_ids)}
        self._write(states, lambda state: b"no pickle: " + state)
        return lambda: self._write(states, lambda state: state)

    def _write(self, states: dict[str, bytes], change: Callable[[bytes], bytes]) -> None:
        rows: list[dict[str, Any]] = [
            {"id": id, "state": change(state)} for id, state in states.items()
        ]
        write = f"UPDATE {TABLE} SET job_state = :state WHERE id = :id"
        with self.transaction() as connection:
            connection.execute(text(write), rows)
