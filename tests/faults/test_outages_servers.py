"""A database server fails, in every way it can, while 50 jobs a second are due."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from fault_kit import RAN, ran, wait_for_runs, wait_until
from kill_scene import TABLE, Place
from outage_kit import Admin, Proxy, Strike, on_trial
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from servers.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SERVERS = ("postgresql", "mariadb")


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    found = request.getfixturevalue(f"{request.param}_server")
    assert isinstance(found, Server)
    return found


def as_ordinary_user(admin: Admin, rights: str) -> str:
    """Make somebody who may use the tables; return the URL of the database for that user.

    :param rights: on all tables of the database
    """
    name = f"user_{admin.database}"[:32]
    if admin.is_postgresql:
        admin.execute(
            f"CREATE ROLE {name} LOGIN",
            f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {name}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {rights} ON TABLES TO {name}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO {name}",
        )
    else:
        admin.execute(
            f"CREATE USER {name}@'%'", f"GRANT {rights} ON {admin.database}.* TO {name}@'%'"
        )
    return admin.engine.url.set(username=name).render_as_string(hide_password=False)


# -- connections --------------------------------------------------------------------------------


def test_connections_that_are_ended_at_any_moment_are_endured(url: str) -> None:
    admin = Admin(url)

    @contextmanager
    def ended() -> Iterator[None]:
        over = threading.Event()

        def end_them() -> None:
            while not over.wait(0.05):
                admin.end_connections()

        thread = threading.Thread(target=end_them)
        thread.start()
        yield
        over.set()
        thread.join()

    with on_trial(SQLAlchemyJobStore(url)) as trial:
        trial.endures(ended)


@pytest.mark.parametrize("seed", range(4))
def test_connections_that_are_ended_within_a_turn_are_endured(url: str, seed: int) -> None:
    admin = Admin(url)
    store = SQLAlchemyJobStore(url)

    @contextmanager
    def ended() -> Iterator[None]:
        Strike(store.engine, seed, admin.end_connections).wait()
        yield

    with on_trial(store) as trial:
        # It may be over before anybody asks.
        trial.endures(ended, tells=False)


def test_a_pool_of_which_all_connections_are_lent_is_endured(url: str) -> None:
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.3)

    @contextmanager
    def all_lent() -> Iterator[None]:
        with engine.connect():
            yield

    with on_trial(SQLAlchemyJobStore(engine=engine)) as trial:
        trial.endures(all_lent)
    engine.dispose()


# -- transactions -------------------------------------------------------------------------------


def test_a_deadlock_is_endured(postgresql_url: str) -> None:
    admin = Admin(postgresql_url)
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO%'"
    )
    other = create_engine(postgresql_url, poolclass=NullPool)

    @contextmanager
    def deadlock() -> Iterator[None]:
        with other.connect() as connection:
            connection.exec_driver_sql("SET deadlock_timeout = '1min'")
            # The run of a slot that will be due, so that who claims it has to wait for us.
            for statement in (
                f"CREATE TEMP TABLE run AS SELECT * FROM {TABLE}_runs "
                f"WHERE job_id = 'job-0' LIMIT 1",
                f"UPDATE run SET id = 'ours', slot_key = (SELECT concat(j.incarnation, ':', "
                f"round(j.next_run_time * 1e6)::bigint + 2000000, ':1') "
                f"FROM {TABLE} AS j WHERE j.id = 'job-0')",
                f"INSERT INTO {TABLE}_runs SELECT * FROM run",
            ):
                connection.exec_driver_sql(statement)
            wait_until(lambda: admin.execute(waiting)[0][0], "a claim waits")
            # And now we wait for what it has locked.
            connection.exec_driver_sql(
                f"UPDATE {TABLE} SET next_run_time = next_run_time WHERE id = 'job-0'"
            )
            yield
            connection.rollback()

    with on_trial(SQLAlchemyJobStore(postgresql_url)) as trial:
        trial.endures(deadlock)


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
@pytest.mark.parametrize("error", ["serialization_failure", "deadlock_detected"])
def test_transactions_that_a_server_gives_up_are_endured(url: str, error: str, event: str) -> None:
    admin = Admin(url)
    raising, dropping = _trigger(admin.is_postgresql, error, event)

    @contextmanager
    def given_up() -> Iterator[None]:
        admin.execute(*raising)
        yield
        admin.execute(dropping)

    with on_trial(SQLAlchemyJobStore(url)) as trial:
        trial.endures(given_up)


def _trigger(is_postgresql: bool, error: str, event: str) -> tuple[list[str], str]:
    """Return what lets each change of a Run fail as if it had met another, and what ends that."""
    table = f"{TABLE}_runs"
    if is_postgresql:
        body = f"BEGIN RAISE EXCEPTION USING ERRCODE = '{error}'; END"
        return [
            f"CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS '"
            f"{body.replace(chr(39), chr(39) * 2)}'",
            f"CREATE TRIGGER failing BEFORE {event} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION fail()",
        ], f"DROP TRIGGER failing ON {table}"
    number = {"serialization_failure": 1020, "deadlock_detected": 1213}[error]
    return [
        f"CREATE TRIGGER failing BEFORE {event} ON {table} FOR EACH ROW "
        f"SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = {number}"
    ], "DROP TRIGGER failing"


# -- rights -------------------------------------------------------------------------------------


def test_a_server_that_can_only_be_read_is_endured(url: str) -> None:
    admin = Admin(url)
    made = SQLAlchemyJobStore(url)
    made.start(None, "default")
    made.shutdown()
    ordinary = as_ordinary_user(admin, "SELECT, INSERT, UPDATE, DELETE")
    if admin.is_postgresql:
        admin.execute(
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {make_url(ordinary).username}"
        )
        switch = f"ALTER DATABASE {admin.database} SET default_transaction_read_only = {{}}"
    else:
        switch = "SET GLOBAL read_only = {}"

    @contextmanager
    def read_only() -> Iterator[None]:
        admin.execute(switch.format("ON"))
        admin.end_connections()
        try:
            yield
        finally:
            # The administrator itself is no exception.
            lift = ["SET default_transaction_read_only = off"] if admin.is_postgresql else []
            admin.execute(*lift, switch.format("OFF"))
            admin.end_connections()

    with on_trial(SQLAlchemyJobStore(ordinary)) as trial:
        trial.endures(read_only)


def test_without_the_right_to_change_tables_it_works_as_3x_and_says_what_to_run(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    admin, place = Admin(url), Place(url)
    place.make_table_of_3x({TABLE: []})
    before = place.schema()
    ordinary = as_ordinary_user(admin, "SELECT, INSERT, UPDATE, DELETE")
    store = SQLAlchemyJobStore(ordinary)

    def run_a_job(*, shared: bool) -> BackgroundScheduler:
        RAN.clear()
        scheduler = BackgroundScheduler(timezone="UTC", jobstores={"default": store})
        with caplog.at_level(logging.WARNING, "apscheduler"):
            scheduler.start()
        # However slow the machine is, there is nothing to warn of.
        scheduler.add_job(
            ran,
            "interval",
            seconds=0.1,
            id="often",
            replace_existing=True,
            max_instances=100,
            misfire_grace_time=None,
        )
        wait_until(lambda: len(RAN) >= 2, "the job has run")
        assert scheduler.health().ok
        assert store.can_be_shared == shared
        return scheduler

    scheduler = run_a_job(shared=False)
    scheduler.shutdown()
    (message,) = [
        record.getMessage()
        for record in caplog.records
        if "cannot be brought up" in record.message
    ]
    assert place.schema() == before

    statements = message.partition("can run: ")[2].split(";\n")
    admin.execute(*(statement.replace(":", "\\:") for statement in statements))
    caplog.clear()
    scheduler = run_a_job(shared=True)
    assert len(scheduler.get_runs("often")) >= 2
    assert len(scheduler.nodes()) == 1
    scheduler.shutdown()
    assert caplog.records == []
    place.close()


# -- the server itself --------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_server_that_ends_at_any_moment_is_endured(server: Server, end: str) -> None:
    store = SQLAlchemyJobStore(server.url(server.create_database()))

    def ended_within_a_turn(seed: int) -> Callable[[], object]:
        @contextmanager
        def ended() -> Iterator[None]:
            Strike(store.engine, seed, getattr(server, end)).wait()
            yield
            server.start()

        return ended

    with on_trial(store) as trial:
        for seed in range(3):
            trial.endures(ended_within_a_turn(seed))


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    proxy = Proxy(make_url(url).port or 0)
    yield proxy
    proxy.close()


def test_a_server_that_is_cut_off_is_endured(url: str, proxy: Proxy) -> None:
    store = SQLAlchemyJobStore(make_url(url).set(port=proxy.port))

    @contextmanager
    def cut_off() -> Iterator[None]:
        Strike(store.engine, 0, proxy.cut).wait()
        # Nothing answers, not even with an error.
        wait_until(trial.is_stuck, "a turn waits for the server")
        proxy.mend()
        yield

    with on_trial(store) as trial:
        trial.endures(cut_off, tells=False)


def test_health_tells_of_a_server_that_is_cut_off(url: str, proxy: Proxy) -> None:
    store = SQLAlchemyJobStore(make_url(url).set(port=proxy.port))
    with on_trial(store) as trial:
        wait_for_runs(1)
        try:
            Strike(store.engine, 0, proxy.cut).wait()
            wait_until(trial.is_stuck, "a turn waits for the server")
            assert not trial.is_well()
        finally:
            proxy.mend()
        wait_until(trial.is_well, "all is well again")
