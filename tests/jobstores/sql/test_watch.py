"""Word of edits, by which PostgreSQL shortens the sleep of others; and forks."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest
from sql_kit import HOUR, NOON, claimed, job, started
from sqlalchemy import text

from apscheduler.job import Job
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.runs import Live, Run, RunKind, RunState, replace
from apscheduler.testing.decisions import run_for

pytestmark = pytest.mark.slow
PATIENCE = 20


@pytest.fixture
def pair(postgresql_url: str) -> Iterator[tuple[SQLAlchemyJobStore, SQLAlchemyJobStore]]:
    """Lend two stores on one database, the first of which has begun to watch."""
    one, other = started(postgresql_url), started(postgresql_url)
    assert one.watch(0)  # What was before, it cannot know.
    assert not one.watch(0)
    yield one, other
    one.shutdown()
    other.shutdown()


def waiting(job: Job, incarnation: str, live: Live) -> Run:
    """Open a Run that any node may start."""
    run = run_for(job, NOON, incarnation, RunKind.MANUAL, RunState.WAITING)
    return replace(run, attention_at=NOON)


EDITS: list[Callable[[SQLAlchemyJobStore], Any]] = [
    lambda store: store.add_job(job("new")),
    lambda store: store.add_jobs([job("new"), job("newer")]),
    lambda store: store.update_job(job("j", NOON + HOUR)),
    lambda store: store.modify_job("j", lambda job: setattr(job, "name", "changed")),
    lambda store: store.replace_job(job("j"), lambda job: False, NOON),
    lambda store: store.open_run("j", waiting),
]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_by_another_node_is_heard_of(
    pair: tuple[SQLAlchemyJobStore, SQLAlchemyJobStore], edit: Callable[[SQLAlchemyJobStore], Any]
) -> None:
    one, other = pair
    other.add_job(job("j"))
    assert one.watch(PATIENCE)
    with ThreadPoolExecutor(1) as thread:
        heard = thread.submit(one.watch, PATIENCE)
        edit(other)
        assert heard.result(PATIENCE)
    assert not one.watch(0)


def test_what_nobody_waits_for_is_not_told(
    pair: tuple[SQLAlchemyJobStore, SQLAlchemyJobStore],
) -> None:
    one, other = pair
    other.add_jobs([job("j"), job("k")])
    assert one.watch(PATIENCE)
    assert claimed(other) == ["j", "k"]
    other.open_run("j", lambda job, life, live: run_for(job, NOON, life, RunKind.MANUAL))
    other.remove_job("j")
    other.remove_all_jobs()
    assert not one.watch(0)


def test_a_watch_ends_when_nothing_happens(
    pair: tuple[SQLAlchemyJobStore, SQLAlchemyJobStore],
) -> None:
    before = monotonic()
    assert not pair[0].watch(0.3)
    assert monotonic() - before >= 0.3


def test_a_watch_can_be_ended_and_begun_anew(
    pair: tuple[SQLAlchemyJobStore, SQLAlchemyJobStore],
) -> None:
    one, other = pair
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(one.watch, 10 * PATIENCE)
        while not one._watch._waiting:
            pass
        one.unwatch()
        assert not waiting.result(PATIENCE)
    assert listeners(other) == set()
    one.unwatch()
    assert one.watch(0)
    other.add_job(job("j"))
    assert one.watch(PATIENCE)


def test_a_broken_connection_is_replaced(
    pair: tuple[SQLAlchemyJobStore, SQLAlchemyJobStore],
) -> None:
    one, other = pair
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(one.watch, PATIENCE)
        broken = listeners(other)
        end_listeners(other)
        assert waiting.result(PATIENCE)
    while not listeners(other) - broken:
        one.watch(0.1)
    other.add_job(job("j"))
    assert one.watch(PATIENCE)
    assert not one.watch(0)


def test_it_takes_no_connection_from_those_who_work(
    pair: tuple[SQLAlchemyJobStore, SQLAlchemyJobStore],
) -> None:
    one, _ = pair
    with one.engine.connect(), one.engine.connect():
        assert not one.watch(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_leaves_the_connections_to_its_parent(
    pair: tuple[SQLAlchemyJobStore, SQLAlchemyJobStore],
) -> None:
    one, other = pair
    one.add_job(job("j"))
    one.watch(PATIENCE)
    child = os.fork()
    if not child:
        code = 1
        try:
            one.after_fork()
            gc.collect()
            one.start(None, "store")
            if [found.id for found in one.get_all_jobs()] == ["j"] and one.watch(0):
                code = 0
            one.shutdown()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert [found.id for found in one.get_all_jobs()] == ["j"]
    other.add_job(job("k"))
    assert one.watch(PATIENCE)


def test_it_waits_though_more_files_are_open_than_select_has_room_for(
    many_files: None, pair: tuple[SQLAlchemyJobStore, SQLAlchemyJobStore]
) -> None:
    one, other = pair
    assert one._watch._connection.dbapi_connection.fileno() > 1023
    assert not one.watch(0)
    other.add_job(job("j"))
    assert one.watch(PATIENCE)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Keep more files open than `select` has room for."""
    resource = pytest.importorskip("resource", reason="there are no such limits here")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2048), limits[1]))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    yield
    for file in files:
        os.close(file)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_other_databases_are_polled_only(mariadb_url: str) -> None:
    store = started(mariadb_url)
    assert not store.can_watch
    store.shutdown()


def listeners(store: SQLAlchemyJobStore) -> set[int]:
    with store.engine.connect() as connection:
        return set(connection.scalars(text(_LISTENING)))


def end_listeners(store: SQLAlchemyJobStore) -> None:
    with store.engine.connect() as connection:
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM ({_LISTENING}) AS them"))


_LISTENING = (
    "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND datname = current_database()"
)
