"""A database in which there is something for every write to do, and what may be left of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pickle import HIGHEST_PROTOCOL
from typing import Any

from sqlalchemy import MetaData, create_engine, delete, inspect, select, text
from sqlalchemy.engine import Engine

from apscheduler import _engine
from apscheduler.job import Job
from apscheduler.jobstores._pickled import digest
from apscheduler.jobstores._sql.claims import definition_of
from apscheduler.jobstores._sql.rows import RUN_COLUMNS, micros, run_row, seconds
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.nodes import Node
from apscheduler.runs import (
    Due,
    JobChange,
    JobChangeKind,
    Live,
    Outcome,
    Plan,
    Presence,
    Retention,
    Run,
    RunKind,
    RunQuery,
    RunState,
    Transition,
    replace,
)
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from job_kit import NOON, House, at, make_job, make_run, slots

S = RunState
TABLE = "apscheduler_jobs"
BESIDE = tuple(f"{TABLE}_{name}" for name in ("runs", "nodes", "changes", "meta"))
#: What the database counts by itself.
CHANGE_ID = BESIDE[2], "id"
#: Whoever is killed; who was dead before; who was never known.
DOOMED, GONE, NEVER = "doomed", "gone", "never"
DUE = ("coalesced", "due", "each", "made", "once", "recovered")
#: How many seconds a server may take to notice that somebody is gone.
PATIENCE = 20.0
HOUR = timedelta(hours=1)

_OTHERS = {
    "postgresql": "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid()",
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = database() "
    "AND id <> connection_id()",
}

Rows = dict[str, list[dict[str, Any]]]


class Ids:
    """Makes ids of Runs, the same ones in each process that begins anew."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers = count()

    def __call__(self) -> str:
        return f"{self._name}{next(self._numbers):06}"


def open_store(url: str) -> SQLAlchemyJobStore:
    return SQLAlchemyJobStore(url, lease=600, history=Retention(runs_per_job=2))


def start(store: SQLAlchemyJobStore) -> None:
    store.start(House(), "store")


def node(name: str) -> Node:
    return Node(name, "host", "boot", 7, "started", ("default",), NOON)


def decide_as(node_id: str, due: Due) -> Plan | None:
    """Decide about a due job as a scheduler does."""
    site = _engine.Site("store", node_id, Ids(f"{node_id}-{due.job.id}-"))
    return _engine.plan(at(3), due, site, presence=Presence(at(3), "nobody was there"))


# -- what is there before -----------------------------------------------------------------------


def due_jobs() -> list[Job]:
    every = IntervalTrigger(seconds=1, start_date=NOON)
    jobs = [
        make_job(every, id="coalesced", misfire_grace_time=None),
        make_job(IntervalTrigger(hours=1, start_date=NOON), id="due", misfire_grace_time=None),
        # The first slots are too late, and the others become a batch.
        make_job(every, id="each", misfire_grace_time=1, coalesce=False),
        # Its trigger is code of a user's.
        make_job(slots(0, 60), id="made", misfire_grace_time=None),
        make_job(DateTrigger(NOON), id="once", misfire_grace_time=None),
        make_job(
            IntervalTrigger(hours=1, start_date=NOON), id="recovered", misfire_grace_time=None
        ),
    ]
    jobs[-1].recover = True
    return jobs


def later_job() -> Job:
    return make_job(IntervalTrigger(hours=1, start_date=NOON), id="later", next_run_time=at(86400))


def live_runs() -> list[Run]:
    """Return Runs that are live, of nodes that live and of others that do not."""
    lost = make_job(id="recovered")
    lost.recover = True
    make = partial(make_run, job_id="later")

    def waiting(number: int, **fields: Any) -> Run:
        return make(
            id=f"waiting-{number}",
            state=S.WAITING,
            kind=RunKind.RETRY,
            attempt=2,
            attention_at=NOON,
            scheduled_at=at(-100 - number),
            node=DOOMED,
            **fields,
        )

    return [
        make(id="doomed-1", scheduled_at=at(-1), node=DOOMED, started_at=at(-1)),
        make(id="doomed-2", scheduled_at=at(-2), node=DOOMED, definition=lost),
        make(id="doomed-3", scheduled_at=at(-3), node=DOOMED),
        make(id="gone-1", scheduled_at=at(-4), node=GONE),
        make(id="gone-2", scheduled_at=at(-5), node=GONE, definition=lost),
        make(id="gone-3", scheduled_at=at(-6), node=GONE, state=S.WAITING, batch="gone-2"),
        make(id="never-1", scheduled_at=at(-7), node=NEVER, definition=lost),
        waiting(1),
        waiting(2),
        waiting(3, definition=lost),
        replace(waiting(4), job_id="removed"),
    ]


def build(url: str) -> Rows:
    """Fill an empty database, and return what there is in it."""
    store = open_store(url)
    start(store)
    store.add_jobs([*due_jobs(), later_job()], NOON - HOUR)
    store.add_job(make_job(id="paused", next_run_time=None), NOON - HOUR)
    for number in range(100):
        moment = NOON - HOUR + timedelta(seconds=number)
        store.note(JobChange("later", moment, JobChangeKind.MODIFIED, NOON))
    for name in (DOOMED, GONE):
        store.beat(node(name))
    ended = [
        make_run(id=f"ended-{number}", job_id="later", state=S.SUCCEEDED, scheduled_at=at(-60 * n))
        for number, n in enumerate(range(20, 30))
    ]
    rows = [
        run_row(run, run.definition and definition_of(run.definition, HIGHEST_PROTOCOL))
        for run in (*live_runs(), *ended)
    ]
    with store.engine.begin() as connection:
        connection.execute(
            store._tables.runs.insert(), [dict(zip(RUN_COLUMNS, row, strict=True)) for row in rows]
        )
        nodes = store._tables.nodes
        connection.execute(nodes.update().where(nodes.c.id == GONE).values(alive_until=1))
    store.shutdown()
    place = Place(url)
    rows_now = place.rows()
    place.close()
    return rows_now


# -- what is done -------------------------------------------------------------------------------


def _renamed(job: Job) -> None:
    job.name = "another"


def _lapse(run: Run) -> Transition:
    return _engine.lapse(at(3), run, Ids(f"{run.id}-again-"))


def _apply(store: SQLAlchemyJobStore) -> None:
    one, two, three = store.get_runs(RunQuery(state=S.RUNNING, node=DOOMED))
    follow_up = replace(
        two, id="again", state=S.WAITING, kind=RunKind.RETRY, attempt=2, attention_at=at(60)
    )
    store.apply(
        [
            Transition(one, S.SUCCEEDED, at(1)),
            Transition(two, S.FAILED, at(1), error="no", follow_up=follow_up),
            Transition(three, S.CANCELLED, at(1), reason="why not"),
        ]
    )


def _open_run(store: SQLAlchemyJobStore) -> None:
    site = _engine.Site("store", DOOMED, Ids("manual-"))

    def decide(job: Job, incarnation: str, live: Live) -> Run:
        return _engine.plan_manual(at(3), job, incarnation, live, site)

    store.open_run("due", decide)


def _prune(store: SQLAlchemyJobStore) -> None:
    store._runs._opened.add("later")
    assert store.prune(NOON)


#: Every write of a store, and one that it makes as it starts.
OPERATIONS: dict[str, Callable[[SQLAlchemyJobStore], object]] = {
    "add_job": lambda store: store.add_job(make_job(id="new"), NOON),
    "add_jobs": lambda store: store.add_jobs([make_job(id=f"new-{n}") for n in range(3)], NOON),
    "update_job": lambda store: store.update_job(make_job(id="later", name="other"), NOON),
    "modify_job": lambda store: store.modify_job("later", _renamed, NOON),
    "replace_job": lambda store: store.replace_job(later_job(), lambda job: False, NOON),
    "remove_job": lambda store: store.remove_job("later"),
    "remove_all_jobs": lambda store: store.remove_all_jobs(),
    "claim": lambda store: store.claim(at(3), partial(decide_as, DOOMED), 100, ()),
    "claim, bit by bit": lambda store: [
        store.claim(at(3), partial(decide_as, DOOMED), 3, ()) for _ in range(2)
    ],
    "claim_waiting": lambda store: store.claim_waiting(
        NOON, partial(_engine.attend, NOON), 100, None, DOOMED
    ),
    "claim_lapsed": lambda store: store.claim_lapsed(_lapse, [GONE]),
    "open_run": _open_run,
    "apply": _apply,
    "beat": lambda store: store.beat(node(DOOMED)),
    "join": lambda store: store.beat(node("new")),
    "leave": lambda store: store.leave(DOOMED),
    "prune": _prune,
    "note": lambda store: store.note(JobChange("later", NOON, JobChangeKind.PAUSED)),
}
#: What makes the tables.
STARTS = ("start on nothing", "start on a table of 3.x")


# -- what is there after ------------------------------------------------------------------------


class Place:
    """A database, as somebody sees and fills it who knows nothing of the store."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: Engine = create_engine(url)
        self.is_server = self.engine.dialect.name != "sqlite"

    def close(self) -> None:
        self.engine.dispose()

    def rows(self) -> Rows:
        metadata = MetaData()
        with self.engine.connect() as connection:
            metadata.reflect(connection)
            return {
                name: [dict(row._mapping) for row in connection.execute(select(table))]
                for name, table in metadata.tables.items()
            }

    def fill(self, rows: Rows) -> None:
        """Put rows in place of what there is."""
        metadata = MetaData()
        with self.engine.begin() as connection:
            metadata.reflect(connection)
            for name, table in metadata.tables.items():
                connection.execute(delete(table))
                given = [
                    {column: row[column] for column in row if (name, column) != CHANGE_ID}
                    for row in rows.get(name, ())
                ]
                if given:
                    connection.execute(table.insert(), given)

    def clear(self) -> None:
        metadata = MetaData()
        with self.engine.begin() as connection:
            metadata.reflect(connection)
            metadata.drop_all(connection)

    def make_table_of_3x(self, rows: Rows) -> None:
        binary, number = {
            "sqlite": ("BLOB", "FLOAT"),
            "postgresql": ("BYTEA", "DOUBLE PRECISION"),
        }.get(self.engine.dialect.name, ("BLOB", "DOUBLE"))
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    f"CREATE TABLE {TABLE} (id VARCHAR(191) NOT NULL PRIMARY KEY, "
                    f"next_run_time {number}, job_state {binary} NOT NULL)"
                )
            )
            connection.execute(
                text(f"CREATE INDEX ix_{TABLE}_next_run_time ON {TABLE} (next_run_time)")
            )
            given = [
                {name: row[name] for name in ("id", "next_run_time", "job_state")}
                for row in rows[TABLE]
            ]
            if given:
                insert = f"INSERT INTO {TABLE} VALUES (:id, :next_run_time, :job_state)"
                connection.execute(text(insert), given)

    def schema(self) -> dict[str, tuple[list[str], list[str]]]:
        """Return the names of all columns and indexes, by table."""
        with self.engine.connect() as connection:
            inspector = inspect(connection)
            return {
                name: (
                    sorted(column["name"] for column in inspector.get_columns(name)),
                    sorted(str(index["name"]) for index in inspector.get_indexes(name)),
                )
                for name in inspector.get_table_names()
            }

    def others(self) -> set[int]:
        """Return what tells the connections of others that a server knows of."""
        question = _OTHERS.get(self.engine.dialect.name)
        if question is None:
            return set()
        with self.engine.connect() as connection:
            return set(connection.scalars(text(question)))

    def wait_until_gone(self, before: set[int]) -> None:
        """Wait until the server has noticed that whoever was killed is gone.

        :param before: the connections that there were before
        """
        deadline = time.monotonic() + PATIENCE
        while self.others() - before:
            if time.monotonic() > deadline:
                raise TimeoutError("the server does not notice that a process was killed")
            time.sleep(0.002)


def compared(rows: Rows, known: set[str]) -> dict[str, list[tuple[Any, ...]]]:
    """Return what of rows is the same each time that the same is done.

    :param known: the incarnations that there were before
    """
    now = micros(datetime.now(UTC))

    def cell(table: str, name: str, value: Any) -> Any:
        if table == BESIDE[1] and name == "alive_until":
            return value > now
        if (table, name) == CHANGE_ID:
            return None
        if table == TABLE and name == "incarnation":
            return value if value in known else "new"
        return bytes(value) if isinstance(value, memoryview) else value

    return {
        table: sorted(
            (tuple(cell(table, name, value) for name, value in row.items()) for row in given),
            key=repr,
        )
        for table, given in rows.items()
    }


def incarnations(rows: Rows) -> set[str]:
    return {row["incarnation"] for row in rows[TABLE]}


def assert_jobs_agree_with_their_rows(store: SQLAlchemyJobStore, rows: Rows) -> None:
    for row in rows[TABLE]:
        job = store.lookup_job(row["id"])
        assert job is not None, row["id"]
        moment = job.next_run_time
        assert row["next_run_time"] == (None if moment is None else seconds(moment)), row["id"]
        if row["digest"] is not None:
            assert row["digest"] == digest(bytes(row["job_state"])), row["id"]


def assert_goes_on(store: SQLAlchemyJobStore, rows: Rows, removed: bool) -> None:
    """Whoever is left ends what the doomed was running, and answers every slot once.

    :param rows: what is stored
    :param removed: whether the jobs may have been removed
    """
    store.beat(node("survivor"))
    assert_jobs_agree_with_their_rows(store, rows)
    store.claim_lapsed(_lapse, [DOOMED])
    live = [run for state in (S.RUNNING, S.WAITING) for run in _runs(store, state)]
    assert [run for run in live if run.state is S.RUNNING or not run.attention_at] == []
    held = {job.id for job in store.get_all_jobs()}

    for _ in range(3):
        store.claim(at(3), partial(decide_as, "survivor"), 100, ())
        _end_all(store)
    runs = _runs(store, None)
    answered = {
        job_id: sorted(
            (run.first_scheduled_at, run.scheduled_at, run.count)
            for run in runs
            if run.job_id == job_id and run.attempt == 1 and run.kind in ("slot", "gap")
            if run.scheduled_at >= NOON
        )
        for job_id in DUE
    }
    once = [(NOON, NOON, 1)]
    wanted = {
        "coalesced": [(NOON, at(3), 4)],
        "due": once,
        "each": [(NOON, at(1), 2), (at(2), at(2), 1), (at(3), at(3), 1)],
        "made": once,
        "once": once,
        "recovered": once,
    }
    for job_id in DUE:
        if removed and job_id not in held and not answered[job_id]:
            continue
        assert answered[job_id] == wanted[job_id], job_id
    assert store.get_due_jobs(at(3)) == []


def _runs(store: SQLAlchemyJobStore, state: RunState | None) -> list[Run]:
    return store.get_runs(RunQuery(state=state, limit=10_000))


def _end_all(store: SQLAlchemyJobStore) -> None:
    """Let all that runs here succeed."""
    now = at(3)
    for run in sorted(_runs(store, S.RUNNING), key=lambda run: run.id):
        outcome = Outcome(S.SUCCEEDED, now, now)
        store.apply([_engine.settle(now, run, outcome, Ids(run.id))])
    rest = [_engine.start(run) for run in _runs(store, S.WAITING) if not run.attention_at]
    if rest:
        store.apply(rest)
        _end_all(store)
