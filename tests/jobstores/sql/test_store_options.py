"""What is said to the SQL job store when it is made, and what it closes in the end."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from sql_kit import NOON, File, claimed, job, started, work
from sqlalchemy import MetaData, create_engine, event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.pool import NullPool, QueuePool
from sqlalchemy.sql.elements import quoted_name

from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.jobstores.base import ConflictingIdError, claims_for_itself
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.nodes import Node
from apscheduler.runs import Retention
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.testing import ManualScheduler

an_engine = create_engine("sqlite://")
some_metadata = MetaData()


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


def test_a_url_or_an_engine_is_needed() -> None:
    with pytest.raises(ValueError, match=r'^Need either "engine" or "url" defined$'):
        SQLAlchemyJobStore()


def test_an_engine_and_metadata_may_be_given_by_name() -> None:
    store = SQLAlchemyJobStore(
        "sqlite:///ignored", engine=f"{__name__}:an_engine", metadata=f"{__name__}:some_metadata"
    )
    assert store.engine is an_engine
    assert store.jobs_t.metadata is some_metadata
    with pytest.raises(InvalidRequestError, match="already defined"):
        SQLAlchemyJobStore(engine=an_engine, metadata=some_metadata)


def test_whoever_gives_metadata_finds_all_tables_in_it() -> None:
    metadata = MetaData()
    SQLAlchemyJobStore("sqlite://", tablename="mine", metadata=metadata)
    assert sorted(metadata.tables) == [
        "mine",
        "mine_changes",
        "mine_meta",
        "mine_nodes",
        "mine_runs",
    ]


def test_tables_that_nobody_has_asked_for_are_made_once_for_all_threads() -> None:
    store = SQLAlchemyJobStore("sqlite://")
    assert list(store.jobs_t.metadata.tables) == ["apscheduler_jobs"]
    threads = 8
    together = Barrier(threads)

    def ask(_: int) -> Any:
        together.wait(20)
        return store._tables.runs

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(ask, range(threads)))
    assert all(table is found[0] for table in found)
    assert len(store.jobs_t.metadata.tables) == 5


def test_a_lone_scheduler_on_a_file_starts_without_the_tables_that_it_only_names(
    file: File,
) -> None:
    started(file.url).shutdown()
    store = SQLAlchemyJobStore(file.url)
    scheduler = BackgroundScheduler(jobstores={"default": store})
    ran = Event()
    scheduler.add_listener(lambda _: ran.set(), EVENT_JOB_EXECUTED)
    scheduler.add_job(work)
    scheduler.start()
    assert ran.wait(20)
    scheduler.shutdown()
    assert list(store.jobs_t.metadata.tables) == ["apscheduler_jobs"]


@pytest.mark.parametrize("others", [False, True])
def test_who_else_is_there_is_asked_at_first_only_if_somebody_is(
    file: File, others: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = started(file.url)
    if others:
        store.beat(Node("n", "elsewhere", "", 1, "", ("default",), NOON))
    store.shutdown()
    asked: list[bool] = []
    ran = Event()
    get_nodes = SQLAlchemyJobStore.get_nodes

    def counted(store: SQLAlchemyJobStore) -> list[Node]:
        asked.append(ran.is_set())
        return get_nodes(store)

    monkeypatch.setattr(SQLAlchemyJobStore, "get_nodes", counted)
    scheduler = BackgroundScheduler(jobstores={"default": SQLAlchemyJobStore(file.url)})
    scheduler.add_listener(lambda _: ran.set(), EVENT_JOB_EXECUTED)
    scheduler.add_job(work)
    scheduler.start()
    assert ran.wait(20)
    scheduler.shutdown()
    assert asked == [False] * others


def test_who_left_before_a_restart_is_forgotten_though_nobody_is_asked_for(file: File) -> None:
    one, other = (
        BackgroundScheduler(jobstores={"default": SQLAlchemyJobStore(file.url)}) for _ in range(2)
    )
    ran = Event()
    one.add_listener(lambda _: ran.set(), EVENT_JOB_EXECUTED)

    def run() -> None:
        ran.clear()
        one.add_job(work)
        one.start()
        assert ran.wait(20)

    other.start()
    run()
    assert one._loop.company.others_since("default", "default") is not None
    other.shutdown()
    one.shutdown()
    run()
    assert one._loop.company.others_since("default", "default") is None
    one.shutdown()


def test_a_fork_waits_for_no_thread_that_made_tables_when_it_began(file: File) -> None:
    store = SQLAlchemyJobStore(file.url)
    store._tables._making.acquire()  # as a thread of the parent did
    store.after_fork()
    assert store._tables.runs.name == "apscheduler_jobs_runs"


def test_a_name_that_is_not_to_be_quoted_is_not_quoted_in_texts_either(file: File) -> None:
    store = SQLAlchemyJobStore(file.url, tablename=quoted_name("JOBS", quote=False))
    assert store._database.dialect.jobs_name == "JOBS"


@pytest.mark.parametrize("level", [0, 1, 3])
def test_how_a_program_wants_a_file_to_be_written_stays_as_it_is(file: File, level: int) -> None:
    store = SQLAlchemyJobStore(file.url)

    @event.listens_for(store.engine, "connect")
    def listen(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA synchronous = {level}")

    store.start(ManualScheduler(), "store")
    store.beat(Node("n", "host", "", 1, "", ("default",), NOON))
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == level
    store.shutdown()


def test_the_lease_of_a_node_does_not_wait_for_the_disk_and_all_else_does(file: File) -> None:
    store = started(file.url)
    said: list[str] = []

    @event.listens_for(store.engine, "connect")
    def listen(connection: Any, _: object) -> None:
        connection.set_trace_callback(said.append)

    store.engine.dispose()
    store.beat(Node("n", "host", "", 1, "", ("default",), NOON))
    store.add_job(job("k"))
    store.leave("n")
    relevant = [
        text.split()[0] if text.split()[0] in {"UPDATE", "INSERT", "DELETE"} else text
        for text in said
        if text.startswith(("PRAGMA synchronous =", "UPDATE", "INSERT", "DELETE", "COMMIT"))
    ]
    normal, full = "PRAGMA synchronous = NORMAL", "PRAGMA synchronous = 2"
    assert relevant == [
        *(normal, "UPDATE", "INSERT", "COMMIT", full),
        *("INSERT", "COMMIT"),
        *(normal, "DELETE", "COMMIT", full),
    ]
    store.shutdown()


def test_in_files_that_are_not_written_ahead_everything_waits_for_the_disk(file: File) -> None:
    engine = create_engine(file.url)
    store = SQLAlchemyJobStore(engine=engine)
    store.start(ManualScheduler(), "store")
    said: list[str] = []
    with engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        raw.set_trace_callback(said.append)
    store.beat(Node("n", "host", "", 1, "", ("default",), NOON))
    assert "COMMIT" in said
    assert not [text for text in said if "synchronous =" in text]


def test_a_connection_that_cannot_be_made_to_wait_for_the_disk_again_is_not_lent_again(
    file: File,
) -> None:
    store = started(file.url)
    with store._database.begin(lasting=False) as connection:
        raw: Any = connection.connection.dbapi_connection

    def close_it() -> None:
        with store._database.begin(lasting=False) as lent:
            assert lent.connection.dbapi_connection is raw
            lent.commit()
            raw.close()

    with pytest.raises(sqlite3.ProgrammingError):
        close_it()
    with store.engine.connect() as another:
        assert another.connection.dbapi_connection is not raw
        assert another.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    store.shutdown()


def test_its_public_attributes_are_those_of_3x() -> None:
    store = SQLAlchemyJobStore("sqlite://", tablename="mine", pickle_protocol=3)
    assert str(store.engine.url) == "sqlite://"
    assert store.jobs_t.name == "mine"
    assert store.pickle_protocol == 3
    assert repr(store) == "<SQLAlchemyJobStore (url=sqlite://)>"


def test_passwords_are_not_shown() -> None:
    store = SQLAlchemyJobStore("postgresql+psycopg://me:secret@nowhere/db")
    assert "secret" not in repr(store)


def test_options_of_the_engine_are_passed_on(file: File) -> None:
    store = SQLAlchemyJobStore(
        file.url, engine_options={"pool_size": 7, "connect_args": {"timeout": 3}}
    )
    assert isinstance(store.engine.pool, QueuePool)
    assert store.engine.pool.size() == 7


def test_of_the_connections_to_a_file_the_one_that_was_used_last_is_used_next(file: File) -> None:
    store = started(file.url)
    with store.engine.connect() as one, store.engine.connect() as other:
        last, first = one.connection.dbapi_connection, other.connection.dbapi_connection
        assert last is not first
    for _ in range(3):
        with store.engine.connect() as connection:
            assert connection.connection.dbapi_connection is last
    store.shutdown()


def test_a_driver_that_keeps_no_connections_will_do(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SQLiteDialect_pysqlite, "get_pool_class", lambda *args: NullPool)
    store = started(file.url)
    assert isinstance(store.engine.pool, NullPool)
    store.shutdown()


def test_however_many_jobs_are_left_out_none_of_them_is_named(file: File) -> None:
    store = started(file.url)
    asked: list[tuple[str, object]] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def note(connection: object, cursor: object, text: str, given: object, *args: object) -> None:
        asked.append((text, given))

    assert store.next_wake([str(number) for number in range(1000)]) is None
    text, given = next((text, given) for text, given in asked if " NOT IN " in text)
    # SQLite looks for each name among all others.
    assert text.count("?") == 1000
    assert isinstance(given, tuple)
    store.shutdown()


def test_a_file_can_have_another_kind_of_pool(file: File) -> None:
    store = SQLAlchemyJobStore(file.url, engine_options={"poolclass": NullPool})
    assert isinstance(store.engine.pool, NullPool)


def test_a_node_has_three_connections_to_a_server_at_most() -> None:
    pool = SQLAlchemyJobStore("postgresql+psycopg://me@nowhere/db").engine.pool
    assert isinstance(pool, QueuePool)
    assert (pool.size(), pool._max_overflow) == (2, 0)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"lease": 0}, ValueError, "lease must be more than 0 seconds, got 0"),
        ({"lease": "30"}, TypeError, "lease must be a number of seconds, got '30'"),
        ({"poll_interval": -1}, ValueError, "poll_interval must be more than 0"),
        ({"poll_interval": True}, TypeError, "poll_interval must be a number"),
        ({"poll_interval": 30}, ValueError, "poll_interval must be shorter than lease"),
        ({"history": 100}, TypeError, "history must be a Retention, got 100"),
    ],
)
def test_new_options_are_strict(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        SQLAlchemyJobStore("sqlite://", **options)


def test_new_options_are_kept() -> None:
    history = Retention(10, timedelta(days=1))
    store = SQLAlchemyJobStore("sqlite://", lease=10, poll_interval=0.5, history=history)
    assert (store.lease, store.poll_interval, store.retention) == (10.0, 0.5, history)


def test_the_pickle_protocol_is_used(file: File) -> None:
    store = started(file.url, pickle_protocol=2)
    store.add_job(job("j"))
    claimed(store)
    ((state,),) = file.ask("SELECT job_state FROM apscheduler_jobs")
    assert state[:2] == b"\x80\x02"
    store.shutdown()


def test_a_store_closes_only_the_engine_that_it_has_made(file: File) -> None:
    engine = create_engine(file.url)
    with engine.connect():
        pass
    store = SQLAlchemyJobStore(engine=engine)
    store.start(None, "store")
    pool = engine.pool
    store.shutdown()
    assert engine.pool is pool
    engine.dispose()

    own = started(file.url)
    pool = own.engine.pool
    own.shutdown()
    assert own.engine.pool is not pool


def test_a_store_can_be_started_again(file: File) -> None:
    store = started(file.url)
    store.add_job(job("j"))
    store.shutdown()
    store.start(ManualScheduler(), "store")
    assert [found.id for found in store.get_all_jobs()] == ["j"]
    store.shutdown()


def test_threads_share_a_database_in_memory() -> None:
    store = started("sqlite://")
    jobs = [f"{number:03}" for number in range(40)]
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(store.add_job, job(id)) for id in jobs]:
            done.result(20)
        won = [threads.submit(claimed, store) for _ in range(4)]
        assert sorted(id for future in won for id in future.result(20)) == jobs
    store.shutdown()


def test_a_file_of_our_own_is_written_ahead_and_fully(file: File) -> None:
    store = started(file.url)
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    store.shutdown()


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _no_begin_of_its_own(raw: sqlite3.Connection, _: Any) -> None:
    raw.isolation_level = None


@pytest.mark.parametrize(
    ("options", "listener"),
    [
        ({}, None),
        ({"isolation_level": "AUTOCOMMIT"}, None),
        ({"connect_args": {"isolation_level": "IMMEDIATE"}}, None),
        ({}, _begin),
        ({}, _begin_immediate),
    ],
)
def test_any_kind_of_sqlite_engine_will_do(
    file: File, options: dict[str, Any], listener: Any
) -> None:
    engine = create_engine(file.url, **options)
    if listener is not None:
        event.listen(engine, "connect", _no_begin_of_its_own)
        event.listen(engine, "begin", listener)
    stores = [SQLAlchemyJobStore(engine=engine), started(file.url)]
    stores[0].start(ManualScheduler(), "store")
    jobs = [f"{number:03}" for number in range(30)]
    stores[0].add_jobs([job(id) for id in jobs])
    with ThreadPoolExecutor(2) as threads:
        won = [threads.submit(claimed, store) for store in stores]
        assert sorted(id for future in won for id in future.result(20)) == jobs
    # What is refused is undone.
    with pytest.raises(ConflictingIdError):
        stores[0].add_jobs([job("999"), job("new"), *(job(id) for id in jobs[-1:])])
    assert len(stores[1].get_all_jobs()) == 30
    for store in stores:
        store.shutdown()
    engine.dispose()


def test_the_journal_of_somebody_elses_engine_is_left_alone(file: File) -> None:
    engine = create_engine(file.url)
    store = SQLAlchemyJobStore(engine=engine)
    store.start(None, "store")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
    engine.dispose()


def test_a_subclass_that_makes_jobs_itself_is_asked_to(file: File) -> None:
    made: list[bytes] = []

    class Own(SQLAlchemyJobStore):
        def _reconstitute_job(self, job_state: bytes) -> Any:
            made.append(job_state)
            found = super()._reconstitute_job(job_state)
            found.name = "made here"
            return found

    store = Own(file.url)
    store.start(ManualScheduler(), "store")
    store.add_job(job("j"))
    found = store.lookup_job("j")
    assert found is not None
    assert found.name == "made here"
    ((due, _),) = store.claim(NOON, lambda due: None, 10, ()).won or [(None, None)]
    assert due is None
    assert len(made) == 2
    assert claims_for_itself(store)
    store.shutdown()


def test_a_subclass_that_reads_jobs_itself_is_a_store_of_3x_to_us() -> None:
    class Own(SQLAlchemyJobStore):
        def _get_jobs(self, *conditions: Any) -> Any:
            return super()._get_jobs(*conditions)

    assert not claims_for_itself(Own("sqlite://"))


def test_without_sqlalchemy_it_is_said_what_to_install() -> None:
    program = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "import apscheduler\n"
        "try: import apscheduler.jobstores.sqlalchemy\n"
        "except ImportError as error: print(error)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert b"apscheduler[sqlalchemy]" in answer.stdout


@pytest.mark.parametrize(
    ("id", "executor"), [("x" * 192, "default"), ("x", "y" * 192), ("\0", "default")]
)
def test_what_no_column_has_room_for_is_refused(file: File, id: str, executor: str) -> None:
    store = started(file.url)
    with pytest.raises(ValueError, match=r"the (id of a job|alias of an executor)"):
        store.add_job(job(id, executor=executor))
    assert store.get_all_jobs() == []
    store.shutdown()
