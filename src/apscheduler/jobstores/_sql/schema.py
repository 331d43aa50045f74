"""The tables: that of 3.x with a few nullable columns more, and those beside it."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Unicode,
    event,
    text,
)

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import IdentifierPreparer

#: The longest id of a job, and alias of an executor.
MAX_NAME = 191
MAX_ID = 64
#: The states of live Runs, as literals: no index that covers only these is used otherwise.
LIVE = "state IN ('waiting','running')"
ENDED = f"NOT ({LIVE})"
_WAITING_FOR_A_MOMENT = "state = 'waiting' AND attention_at IS NOT NULL"

#: What the jobs table has beside the columns of 3.x.
JOB_COLUMNS_BESIDE = (
    "incarnation",
    "born",
    "last_slot",
    "executor",
    "revision",
    "digest",
    "options",
)
#: By what the names of the tables beside that of the jobs end, and a column of each.
BESIDE = {"_runs": "id", "_nodes": "id", "_changes": "id", "_meta": "name"}
NODE_COLUMNS = (
    "id",
    "host",
    "boot",
    "pid",
    "process_started",
    "executors",
    "since",
    "alive_until",
)
_PARTIAL_INDEXES = frozenset({"sqlite", "postgresql"})
_MYSQL = frozenset({"mysql", "mariadb"})
#: In MySQL's usual collations "a" equals "A".
_EXACTLY: dict[str, Any] = {
    f"{name}_{option}": wanted
    for name in _MYSQL
    for option, wanted in (
        ("charset", "utf8mb4"),
        ("collate", "utf8mb4_bin"),
        ("engine", "InnoDB"),
    )
}

#: Rows of some tables come and go, and are changed, faster than PostgreSQL expects of a table.
_BUSY: Any = DDL(  # type: ignore[no-untyped-call]  # so it is in SQLAlchemy
    "ALTER TABLE %(fullname)s SET (autovacuum_vacuum_scale_factor = 0.02)"
)


class Tables:
    """The tables of one job store; all moments in them are microseconds since 1970, in UTC.

    Only the next run time, a column of 3.x, is a float of seconds.

    :param dialect: name of the dialect, on which it depends how indexes are made
    :param at_once: whether all are made now, because others look at ``metadata``. Where nobody
        does, most are made when they are needed: that takes as long as a short transaction
    """

    def __init__(
        self,
        metadata: MetaData,
        tablename: str,
        tableschema: str | None,
        dialect: str,
        at_once: bool = True,
    ) -> None:
        self._dialect = dialect
        self._place: dict[str, Any] = {"schema": tableschema, **_EXACTLY}
        self._making = Lock()
        self._beside: TablesBeside | None = None
        self.jobs = Table(
            tablename,
            metadata,
            Column("id", Unicode(MAX_NAME), primary_key=True),
            Column("next_run_time", Float(25), index=True),
            Column("job_state", LargeBinary, nullable=False),
            Column("incarnation", String(32)),
            Column("born", BigInteger),
            Column("last_slot", BigInteger),
            Column("executor", String(MAX_NAME)),
            Column("revision", BigInteger),
            Column("digest", String(16)),
            Column("options", Text),
            **self._place,
        )
        self.live_index = f"ix_{tablename}_runs_live"
        if at_once:
            self._make_beside()

    @property
    def runs(self) -> Table:
        return self._make_beside().runs

    @property
    def nodes(self) -> Table:
        return self._make_beside().nodes

    @property
    def changes(self) -> Table:
        return self._make_beside().changes

    @property
    def meta(self) -> Table:
        return self._make_beside().meta

    @property
    def beside(self) -> tuple[Table, ...]:
        """The tables that 3.x does not have."""
        return self.runs, self.nodes, self.changes, self.meta

    def name(self, preparer: IdentifierPreparer, suffix: str = "") -> str:
        """Return the name of the table of jobs, or of one beside it, as it stands in a text."""
        if not suffix:
            return preparer.format_table(self.jobs)
        return preparer.format_table(self.jobs, name=f"{self.jobs.name}{suffix}")

    def after_fork(self) -> None:
        """Wait for no thread of the parent."""
        self._making = Lock()

    def _make_beside(self) -> TablesBeside:
        made = self._beside
        if made is None:
            with self._making:
                made = self._beside
                if made is None:
                    jobs = self.jobs
                    made = TablesBeside(
                        jobs.metadata, jobs.name, self._place, self._dialect, self.live_index
                    )
                    self._beside = made
        return made


class TablesBeside:
    """The tables that 3.x does not have, whose names begin with that of the one that it has."""

    def __init__(
        self,
        metadata: MetaData,
        tablename: str,
        place: dict[str, Any],
        dialect: str,
        live_index: str,
    ) -> None:
        self.runs = Table(
            f"{tablename}_runs",
            metadata,
            Column("id", String(MAX_ID), primary_key=True),
            Column("job_id", Unicode(MAX_NAME), nullable=False),
            Column("incarnation", String(32), nullable=False),
            Column("kind", String(16), nullable=False),
            Column("state", String(16), nullable=False),
            Column("scheduled_at", BigInteger, nullable=False),
            Column("first_scheduled_at", BigInteger, nullable=False),
            Column("timezone", String(MAX_ID), nullable=False),
            Column("count", Integer, nullable=False),
            Column("attempt", Integer, nullable=False),
            Column("batch", String(MAX_ID), nullable=False),
            Column("reason", Text),
            Column("error", Text),
            Column("executor", Unicode(MAX_NAME), nullable=False),
            Column("node", String(MAX_ID), nullable=False),
            Column("attention_at", BigInteger),
            Column("opened_at", BigInteger, nullable=False),
            Column("started_at", BigInteger),
            Column("ended_at", BigInteger),
            Column("job_name", Text, nullable=False),
            Column("slot_key", String(96), nullable=False),
            Column("definition", LargeBinary),
            **place,
        )
        self._index_runs(dialect, live_index)
        self.nodes = Table(
            f"{tablename}_nodes",
            metadata,
            Column("id", String(MAX_ID), primary_key=True),
            Column("host", Text, nullable=False),
            Column("boot", Text, nullable=False),
            Column("pid", BigInteger, nullable=False),
            Column("process_started", Text, nullable=False),
            Column("executors", Text, nullable=False),
            Column("since", BigInteger, nullable=False),
            Column("alive_until", BigInteger, nullable=False),
            **place,
        )
        self.changes = Table(
            f"{tablename}_changes",
            metadata,
            Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
            Column("job_id", Unicode(MAX_NAME), nullable=False),
            Column("at", BigInteger, nullable=False),
            Column("kind", String(16), nullable=False),
            Column("next_run_time", BigInteger),
            **place,
        )
        Index(f"ix_{tablename}_changes_job", self.changes.c.job_id, self.changes.c.id)
        self.meta = Table(
            f"{tablename}_meta",
            metadata,
            Column("name", String(MAX_ID), primary_key=True),
            Column("value", String(MAX_NAME)),
            **place,
        )

        for table in (self.runs, self.nodes):
            event.listen(table, "after_create", _BUSY.execute_if(dialect="postgresql"))

    def _index_runs(self, dialect: str, live_index: str) -> None:
        runs, name = self.runs.c, self.runs.name
        # The net below the jobs' own guard: no slot has two Runs of one attempt.
        Index(f"ux_{name}_slot", runs.job_id, runs.slot_key, unique=True)
        Index(f"ix_{name}_job", runs.job_id, runs.opened_at, runs.id)
        Index(f"ix_{name}_opened", runs.opened_at, runs.id)
        if dialect in _PARTIAL_INDEXES:
            Index(live_index, runs.job_id, **_where(LIVE))
            Index(f"ix_{name}_attention", runs.attention_at, **_where(_WAITING_FOR_A_MOMENT))
        else:
            Index(live_index, runs.state, runs.job_id)
            Index(f"ix_{name}_attention", runs.state, runs.attention_at)


def _where(condition: str) -> dict[str, Any]:
    return {f"{dialect}_where": text(condition) for dialect in _PARTIAL_INDEXES}
