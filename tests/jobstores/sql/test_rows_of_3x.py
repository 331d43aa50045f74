"""Tables of 3.11.3, used in place; and what becomes of them without the right to change them."""

from __future__ import annotations

import base64
import logging
import pickle
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from golden import GOLDEN
from sql_kit import COLUMNS_3X, HOUR, LAYOUT_3X, NOON, TABLE, File, claimed, job, started, work
from sqlalchemy import create_engine, event
from sqlalchemy.pool import StaticPool

from apscheduler.jobstores.base import ConflictingIdError, claims_for_itself
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.runs import Due, Plan, RunQuery
from apscheduler.testing import ManualScheduler
from apscheduler.testing.decisions import opening


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


def insert_as_3x(file: File, id: str, state: bytes, seconds: float | None) -> None:
    file.ask(
        f"INSERT INTO {TABLE} (id, next_run_time, job_state) VALUES (?, ?, ?)", id, seconds, state
    )


def test_a_table_of_3x_is_used_in_place(file: File) -> None:
    file.run(LAYOUT_3X)
    states = {golden.name: base64.b64decode(golden.blob) for golden in GOLDEN}
    for id, state in states.items():
        insert_as_3x(file, id, state, 1893448800.0)
    store = started(file.url)
    assert store.can_be_shared
    found = {job.id: job for job in store.get_all_jobs()}
    assert {id: str(job.trigger) for id, job in found.items()} == {
        golden.name: golden.text for golden in GOLDEN
    }
    # Nothing is written that nobody has asked for.
    assert dict(file.ask(f"SELECT id, job_state FROM {TABLE}")) == states
    store.shutdown()


def test_the_columns_of_3x_are_as_3x_makes_them(file: File) -> None:
    started(file.url).shutdown()
    columns = file.ask(f"PRAGMA table_info({TABLE})")
    assert [(name, type_, bool(needed), bool(key)) for _, name, type_, needed, _, key in columns][
        :3
    ] == [
        ("id", "VARCHAR(191)", True, True),
        ("next_run_time", "FLOAT", False, False),
        ("job_state", "BLOB", True, False),
    ]
    # All others may be left out by whoever inserts as 3.x does.
    assert not any(needed for _, name, _, needed, *_ in columns if name not in COLUMNS_3X)
    indexes = [row[1] for row in file.ask(f"PRAGMA index_list({TABLE})")]
    assert f"ix_{TABLE}_next_run_time" in indexes


def test_a_row_that_was_claimed_holds_what_3x_puts_there(file: File) -> None:
    store = started(file.url)
    store.add_job(job("j", args=(1,), kwargs={"a": 2}))
    assert claimed(store) == ["j"]
    ((state, seconds),) = file.ask(f"SELECT job_state, next_run_time FROM {TABLE}")
    parts = pickle.loads(state)
    assert list(parts) == [
        "version",
        "id",
        "func",
        "trigger",
        "executor",
        "args",
        "kwargs",
        "name",
        "misfire_grace_time",
        "coalesce",
        "max_instances",
        "next_run_time",
    ]
    assert parts["next_run_time"] == NOON + HOUR
    assert seconds == (NOON + HOUR).timestamp()
    store.shutdown()


def test_a_job_of_3x_is_claimed_and_its_row_completed(file: File) -> None:
    file.run(LAYOUT_3X)
    store = started(file.url)
    state = pickle.dumps(job("j", executor="other").__getstate__())
    insert_as_3x(file, "j", state, NOON.timestamp())
    assert claimed(store) == ["j"]
    ((executor, incarnation, last_slot),) = file.ask(
        f"SELECT executor, incarnation, last_slot FROM {TABLE}"
    )
    assert (executor, incarnation) == ("other", None)
    assert last_slot == NOON.timestamp() * 1e6
    (run,) = store.get_runs(RunQuery())
    assert run.incarnation == ""
    store.shutdown()


def test_the_pickle_is_the_truth_and_the_column_is_mended(file: File) -> None:
    store = started(file.url)
    store.add_jobs([job("later", NOON + HOUR), job("paused", None), job("due")])
    file.ask(f"UPDATE {TABLE} SET next_run_time = ?", (NOON - HOUR).timestamp())
    assert claimed(store) == ["due"]
    assert dict(file.ask(f"SELECT id, next_run_time FROM {TABLE} WHERE id <> 'due'")) == {
        "later": (NOON + HOUR).timestamp(),
        "paused": None,
    }
    store.shutdown()


def test_an_edit_by_3x_is_not_lost(file: File) -> None:
    store = started(file.url)
    store.add_job(job("j"))

    def decide(due: Due) -> Plan:
        file.write_as_3x("j", name="edited")
        return opening(due)

    assert claimed(store, decide=decide) == []
    assert claimed(store) == ["j"]
    found = store.lookup_job("j")
    assert found is not None
    assert found.name == "edited"
    store.shutdown()


def test_a_slot_that_3x_writes_back_is_not_run_again(file: File) -> None:
    store = started(file.url)
    store.add_jobs([job("j"), job("k", NOON + HOUR)])
    assert claimed(store) == ["j"]
    file.write_as_3x("j", next_run_time=NOON)
    # The job moves on, and the rest of its batch is claimed all the same.
    assert claimed(store, NOON + HOUR) == ["k"]
    assert claimed(store, NOON + HOUR) == ["j"]
    assert len(store.get_runs(RunQuery("j"))) == 2
    store.shutdown()


def test_a_scheduler_of_3x_on_the_same_table_is_named_once(
    file: File, caplog: pytest.LogCaptureFixture
) -> None:
    store = started(file.url)
    store.add_jobs([job("j"), job("k", NOON + 100 * HOUR)])
    for hour in range(5):
        now = NOON + hour * HOUR
        file.write_as_3x("j", next_run_time=now, name=f"by 3.x {hour}")
        assert claimed(store, now) == ["j"]
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "a scheduler of APScheduler 3.x" in warned[0].getMessage()
    assert 'job "j"' in warned[0].getMessage()
    store.shutdown()


def test_a_few_edits_by_3x_are_no_scheduler(file: File, caplog: pytest.LogCaptureFixture) -> None:
    store = started(file.url)
    store.add_job(job("j"))
    for hour in range(12):
        now = NOON + hour * HOUR
        if hour % 3:
            file.write_as_3x("j", name=f"edited {hour}")
        assert claimed(store, now) == ["j"]
    assert caplog.records == []
    store.shutdown()


def test_a_decision_that_was_refused_is_no_sign_of_a_scheduler(
    file: File, caplog: pytest.LogCaptureFixture
) -> None:
    store = started(file.url)
    store.add_job(job("j"))

    def decide(due: Due) -> Plan:
        file.write_as_3x("j", name=f"{due.job.name}!")
        return opening(due)

    for _ in range(5):
        assert claimed(store, decide=decide) == []
    assert caplog.records == []
    store.shutdown()


def test_it_is_forgotten_who_wrote_a_job_that_is_gone(file: File) -> None:
    store = started(file.url)
    ways: list[Callable[[], Any]] = [
        lambda: store.remove_job("j"),
        store.remove_all_jobs,
        lambda: store.claim(NOON + HOUR, last, 10, ()),
    ]
    for remove in ways:
        store.add_job(job("j"))
        file.write_as_3x("j", name="by 3.x")
        assert claimed(store) == ["j"]
        assert store._claimer._rewritten == {"j": 1}
        remove()
        assert store.get_all_jobs() == []
        assert store._claimer._rewritten == {}
    store.shutdown()


def last(due: Due) -> Plan:
    """Decide that one Run is opened, and that the job does not run again."""
    return Plan(None, due.slot, opening(due).opened)


# -- the right to change tables ---------------------------------------------------------------


def _no_tables(raw: sqlite3.Connection, _: Any) -> None:
    denied = {
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_ALTER_TABLE,
    }
    raw.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_DENY if action in denied else sqlite3.SQLITE_OK
    )


@pytest.fixture
def humble(file: File) -> SQLAlchemyJobStore:
    """Return a store that may not change tables."""
    engine = create_engine(file.url)
    event.listen(engine, "connect", _no_tables)
    return SQLAlchemyJobStore(engine=engine)


def test_without_the_right_to_change_tables_it_works_as_in_3x(
    file: File, humble: SQLAlchemyJobStore, caplog: pytest.LogCaptureFixture
) -> None:
    file.run(LAYOUT_3X)
    humble.start(ManualScheduler(), "store")
    assert not humble.can_be_shared
    assert not claims_for_itself(humble)

    humble.add_job(job("j"))
    with pytest.raises(ConflictingIdError):
        humble.add_job(job("j"))
    found = humble.lookup_job("j")
    assert found is not None
    found._modify(name="changed", next_run_time=NOON + HOUR)
    humble.update_job(found)
    assert [due.name for due in humble.get_due_jobs(NOON + HOUR)] == ["changed"]
    assert humble.get_next_run_time() == NOON + HOUR
    humble.add_job(job("k", None))
    assert [kept.id for kept in humble.get_all_jobs()] == ["j", "k"]
    assert humble.modify_job("k", lambda job: setattr(job, "name", "k")).name == "k"
    assert humble.replace_job(job("k", None, func=work), lambda job: True, NOON)
    humble.remove_job("j")
    humble.remove_all_jobs()
    assert humble.get_all_jobs() == []
    assert file.columns() == COLUMNS_3X
    humble.engine.dispose()

    # What is to be run is said, and does it.
    (record,) = caplog.records
    _, _, statements = record.getMessage().partition("can run: ")
    assert "not authorized" in record.getMessage()
    file.run(statements)
    store = started(file.url)
    assert store.can_be_shared
    store.add_job(job("j"))
    assert claimed(store) == ["j"]
    store.shutdown()
    assert len(caplog.records) == 1


def test_without_any_table_and_the_right_to_make_one_it_does_not_start(
    humble: SQLAlchemyJobStore,
) -> None:
    with pytest.raises(Exception, match="not authorized"):
        humble.start(ManualScheduler(), "store")
    humble.engine.dispose()


def test_tables_that_somebody_has_dropped_are_made_again(file: File) -> None:
    started(file.url).shutdown()
    file.run(f"DROP TABLE {TABLE}; DROP TABLE {TABLE}_runs;" + LAYOUT_3X)
    store = started(file.url)
    store.add_job(job("j"))
    assert claimed(store) == ["j"]
    store.shutdown()


def test_what_is_up_to_date_is_not_written(file: File) -> None:
    started(file.url).shutdown()
    engine = create_engine(file.url)
    statements: list[str] = []
    event.listen(
        engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
    )
    store = SQLAlchemyJobStore(engine=engine)
    store.start(None, "store")
    assert [statement.split()[0] for statement in statements] == ["SELECT"]
    engine.dispose()


def test_tables_lie_in_the_schema_that_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    engine = create_engine("sqlite://", poolclass=StaticPool)
    event.listen(
        engine, "connect", lambda raw, _: raw.execute(f"ATTACH DATABASE '{other}' AS aside")
    )
    store = SQLAlchemyJobStore(engine=engine, tablename="my jobs", tableschema="aside")
    store.start(ManualScheduler(), "store")
    store.add_job(job("j"))
    assert claimed(store) == ["j"]
    engine.dispose()
    with closing(sqlite3.connect(other)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = {name for (name,) in found}
    assert names == {
        "my jobs",
        "my jobs_runs",
        "my jobs_nodes",
        "my jobs_changes",
        "my jobs_meta",
    }
