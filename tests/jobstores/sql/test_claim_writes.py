"""What a claim writes when something is in its way, and what runs while rows are locked."""

from __future__ import annotations

import logging
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from datetime import tzinfo as timezone_class
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sql_kit import HOUR, NOON, TABLE, File, claimed, job, started
from sqlalchemy import event, select

from apscheduler.jobstores import _pickled
from apscheduler.jobstores._sql.dialects import Dialect
from apscheduler.jobstores._sql.rows import zone_of
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.runs import (
    Due,
    Plan,
    Run,
    RunKind,
    RunQuery,
    RunState,
    Transition,
    replace,
)
from apscheduler.testing import ManualScheduler
from apscheduler.testing.decisions import SECOND, opening, replace_next, run_for, run_of
from apscheduler.triggers.date import DateTrigger

S = RunState


class UnknownDatabaseStore(SQLAlchemyJobStore):
    """Takes its database for one of which nothing is known."""

    _abilities = Dialect


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


@pytest.fixture(params=["sqlite", "unknown", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param in {"postgresql", "mariadb"}:
        return str(request.getfixturevalue(f"{request.param}_url"))
    return f"sqlite:///{tmp_path}/jobs.sqlite"


@pytest.fixture
def store(request: pytest.FixtureRequest, url: str) -> Iterator[SQLAlchemyJobStore]:
    kind = UnknownDatabaseStore if "unknown" in request.node.name else SQLAlchemyJobStore
    store = kind(url)
    store.start(ManualScheduler(), "store")
    yield store
    store.shutdown()


on_all = pytest.mark.parametrize(
    "url",
    [
        "sqlite",
        "unknown",
        pytest.param("postgresql", marks=pytest.mark.slow),
        pytest.param("mariadb", marks=pytest.mark.slow),
    ],
    indirect=True,
)


def batch(due: Due) -> list[Run]:
    """Return three Runs, one of which runs and the others wait for it."""
    first = run_of(due)
    rest = [
        replace(
            run_for(due.job, due.slot + number * SECOND, due.incarnation, state=S.WAITING),
            batch=first.batch,
        )
        for number in (1, 2)
    ]
    return [first, *rest]


def take_slot(store: SQLAlchemyJobStore, slot: datetime) -> None:
    """Let a slot of the job "j" be decided, by a Run that opens outside of its schedule."""
    store.open_run("j", lambda job, life, live: run_for(job, slot, life, state=S.SKIPPED))


@on_all
def test_a_slot_that_is_decided_is_left_out_and_its_job_moves_on(
    store: SQLAlchemyJobStore,
) -> None:
    store.add_jobs([job("i"), job("j"), job("k")])
    take_slot(store, NOON)
    assert claimed(store) == ["i", "k"]
    assert {job.next_run_time for job in store.get_all_jobs()} == {NOON + HOUR}
    assert [run.state for run in store.get_runs(RunQuery("j"))] == ["skipped"]
    assert claimed(store, NOON + HOUR) == ["i", "j", "k"]


@on_all
def test_the_rest_of_a_batch_is_run_if_its_first_slot_is_decided(
    store: SQLAlchemyJobStore,
) -> None:
    store.add_job(job("j"))
    take_slot(store, NOON)
    runs: list[Run] = []

    def decide(due: Due) -> Plan:
        runs.extend(batch(due))
        return Plan(NOON + HOUR, NOON + 2 * SECOND, tuple(runs))

    ((_, plan),) = store.claim(NOON, decide, 10, ()).won
    assert [(run.id, run.state) for run in plan.opened] == [
        (runs[1].id, S.RUNNING),
        (runs[2].id, S.WAITING),
    ]
    stored = {run.id: run.state for run in store.get_runs(RunQuery("j"))}
    assert stored[runs[1].id] is S.RUNNING
    assert runs[0].id not in stored


@on_all
def test_of_a_decision_only_the_record_of_a_gap_may_be_known_already(
    store: SQLAlchemyJobStore,
) -> None:
    store.add_job(job("j"))
    take_slot(store, NOON - SECOND)

    def decide(due: Due) -> Plan:
        gap = run_for(due.job, NOON - SECOND, due.incarnation, RunKind.GAP, S.MISSED)
        return Plan(NOON + HOUR, NOON, (run_of(due),), (replace(gap, ended_at=NOON),))

    ((_, plan),) = store.claim(NOON, decide, 10, ()).won
    assert len(plan.opened) == 1
    assert plan.closed == ()


@on_all
def test_any_text_may_stand_in_an_error(store: SQLAlchemyJobStore) -> None:
    store.add_job(job("j", name="n\0me"))
    assert claimed(store) == ["j"]
    (run,) = store.get_runs(RunQuery())
    error = "ValueError: \0 and \udc80 and € and 𝄞 and % and :x"
    assert store.apply([Transition(run, S.FAILED, NOON, error=error)]) == [True]
    (ended,) = store.get_runs(RunQuery())
    assert ended.error == "ValueError: \\x00 and \\udc80 and € and 𝄞 and % and :x"
    assert ended.job_name == "n\\x00me"


@on_all
def test_a_decision_that_fails_leaves_everything_as_it_was(store: SQLAlchemyJobStore) -> None:
    store.add_jobs([job("a"), job("j")])

    def decide(due: Due) -> Plan:
        if due.job.id == "j":
            raise KeyboardInterrupt
        return opening(due)

    with pytest.raises(KeyboardInterrupt):
        store.claim(NOON, decide, 10, ())
    assert store.get_runs(RunQuery()) == []
    assert claimed(store) == ["a", "j"]


class Zone(timezone_class):
    """A time zone that cannot be stored."""

    moment: datetime

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(0)

    def __reduce__(self) -> Any:
        raise TypeError("it stays here")


Zone.moment = (NOON + HOUR).replace(tzinfo=Zone())


@on_all
def test_what_cannot_be_written_of_one_job_does_not_hold_up_the_others(
    store: SQLAlchemyJobStore,
) -> None:
    store.add_jobs([job("a"), job("b"), job("c")])

    def decide(due: Due) -> Plan:
        return replace_next(opening(due), Zone.moment) if due.job.id == "b" else opening(due)

    claims = store.claim(NOON, decide, 10, ())
    assert [due.job.id for due, _ in claims.won] == ["a", "c"]
    ((due, _),) = claims.failed
    assert due.job.id == "b"
    assert claimed(store) == ["b"]


@on_all
def test_a_job_that_ends_leaves_its_definition_in_its_runs(store: SQLAlchemyJobStore) -> None:
    one_shot = job("j", args=(1,), trigger=DateTrigger(NOON))
    one_shot.recover = True
    store.add_job(one_shot)

    def decide(due: Due) -> Plan:
        assert due.job.recover
        return Plan(None, due.slot, (replace(run_of(due), definition=due.job),))

    store.claim(NOON, decide, 10, ())
    assert store.get_all_jobs() == []
    (run,) = store.get_runs(RunQuery(state=S.RUNNING))
    assert run.definition.args == (1,)
    assert run.definition.recover
    # A list of what has been does not read what the Runs hold.
    assert store.get_runs(RunQuery())[0].definition is None

    again = replace(run, id="again", batch="again", state=S.WAITING, attempt=2, attention_at=NOON)
    lost = Transition(run, S.LOST, NOON, follow_up=again)
    assert store.claim_lapsed(lambda run: replace(lost, run=run)) == [(run, lost)]
    ((started, found),) = store.claim_waiting(
        NOON, lambda run, job: Transition(run, S.RUNNING), 10, node="here"
    )
    assert (started.id, started.node, found.args, found.recover) == ("again", "here", (1,), True)


@pytest.mark.parametrize(
    ("zone", "found"),
    [
        (ZoneInfo("Europe/Helsinki"), ZoneInfo("Europe/Helsinki")),
        (timezone(timedelta(hours=-3, minutes=-30)), timezone(timedelta(hours=-3, minutes=-30))),
        (timezone(timedelta(hours=1), "named"), timezone(timedelta(hours=1))),
        (timezone(timedelta(seconds=-1)), timezone(timedelta(seconds=-1))),
    ],
)
def test_a_run_is_scheduled_in_the_time_zone_of_its_trigger(
    file: File, zone: Any, found: Any
) -> None:
    store = started(file.url)
    slot = (NOON + timedelta(microseconds=1)).astimezone(zone)
    store.add_job(job("j", slot))
    assert claimed(store, NOON + SECOND) == ["j"]
    (run,) = store.get_runs(RunQuery())
    assert run.scheduled_at == slot
    assert run.scheduled_at.tzinfo == found
    assert run.first_scheduled_at.tzinfo == found
    assert run.opened_at.tzinfo is run.scheduled_at.astimezone(run.opened_at.tzinfo).tzinfo
    store.shutdown()


def test_a_time_zone_that_is_not_known_here_is_shown_as_utc() -> None:
    assert zone_of("Mars/Olympus") is zone_of("UTC")


# -- while rows are locked ----------------------------------------------------------------------


@dataclass
class Users:
    """An object of a user's class, which asks about locks when it is made."""

    number: int = 1

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__dict__.update(state)
        made.append(locked())


made: list[list[str]] = []


def locked() -> list[str]:
    """Return which jobs cannot be locked now."""
    raise NotImplementedError


@pytest.mark.slow
@pytest.mark.parametrize("url", ["postgresql", "mariadb"], indirect=True)
def test_no_code_of_users_runs_while_rows_are_locked(
    store: SQLAlchemyJobStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = started(url)

    def locked() -> list[str]:
        ids = select(other.jobs_t.c.id).with_for_update(skip_locked=True)
        with other.engine.begin() as connection:
            return sorted({"a", "b", "c"} - set(connection.scalars(ids)))

    monkeypatch.setitem(globals(), "locked", locked)
    store.add_jobs([job("a"), job("b", args=(Users(7),)), job("c")])
    made.clear()
    won: dict[str, Any] = {}

    def decide(due: Due) -> Plan:
        won[due.job.id] = due.job
        # Of what is ours it is known what it does.
        assert (due.job.id in locked()) is (due.job.id != "b")
        return opening(due)

    assert sorted(claimed(store, decide=decide)) == ["a", "b", "c"]
    assert won["b"].args == (Users(7),)
    assert made == [[]]
    other.shutdown()


class Trigger(DateTrigger):
    """A trigger of a user."""


@pytest.mark.parametrize(
    "attributes",
    [
        {"args": (Users(),)},
        {"kwargs": {"a": [Users()]}},
        {"trigger": Trigger(NOON)},
        {"args": (Path("/"),)},
        {"args": (print,)},
    ],
)
def test_a_job_that_needs_code_of_users_is_not_made_under_a_lock(
    attributes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "locked", list)
    state = _pickled.dump(job("j", **attributes), pickle.HIGHEST_PROTOCOL)
    made.clear()
    with pytest.raises(_pickled.NotHarmlessError):
        _pickled.load_harmless(state)
    assert made == []
    assert _pickled.load(state).id == "j"


def test_a_job_whose_module_would_have_to_be_imported_is_not_made_under_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("not_imported_yet.py").write_text("def work(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    state = _pickled.dump(job("j", func="not_imported_yet:work"), pickle.HIGHEST_PROTOCOL)
    monkeypatch.delitem(sys.modules, "not_imported_yet")
    with pytest.raises(_pickled.NotHarmlessError):
        _pickled.load_harmless(state)
    assert "not_imported_yet" not in sys.modules
    _pickled.load(state)
    assert _pickled.load_harmless(state).id == "j"


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"args": (1, "a", 2.5, None, b"x", {1, 2}, [3], NOON, timedelta(1))},
        {"next_run_time": NOON.astimezone(ZoneInfo("Asia/Tokyo"))},
        {"trigger": DateTrigger(NOON.astimezone(timezone(timedelta(hours=2))))},
    ],
)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_ordinary_jobs_are_made_under_a_lock(attributes: dict[str, Any], protocol: int) -> None:
    wanted = job("j", **attributes)
    state = _pickled.dump(wanted, protocol)
    found = _pickled.load_harmless(state)
    assert (found.args, found.next_run_time) == (wanted.args, wanted.next_run_time)


# -- quarantine ---------------------------------------------------------------------------------


@on_all
def test_a_job_that_cannot_be_read_is_told_of_once_with_its_remedy(
    store: SQLAlchemyJobStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.add_jobs([job("j"), job("k")])
    with store._database.begin() as connection:
        jobs = store.jobs_t
        connection.execute(jobs.update().where(jobs.c.id == "j").values(job_state=b"garbage"))
    for _ in range(2):
        store.get_all_jobs()
        assert claimed(store, NOON) in (["k"], [])
        assert store.lookup_job("j") is None
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith('Unable to restore job "j": UnpicklingError')
    assert "remove or replace the job" in record.getMessage()
    assert record.exc_info is not None
    (unreadable,) = store.get_quarantined_jobs()
    assert (unreadable.job_id, unreadable.jobstore) == ("j", "store")
    assert len(caplog.records) == 1


def test_of_many_jobs_that_miss_the_same_one_traceback_is_shown(
    file: File, caplog: pytest.LogCaptureFixture
) -> None:
    store = started(file.url)
    store.add_jobs([job(id) for id in "abc"])
    file.ask(f"UPDATE {TABLE} SET job_state = ?", b"garbage")
    assert store.get_all_jobs() == []
    assert [record.exc_info is not None for record in caplog.records] == [True, False, False]
    store.shutdown()


# -- indexes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tablename", [TABLE, "my jobs"])
def test_what_is_live_is_found_without_reading_what_has_been(file: File, tablename: str) -> None:
    store = started(file.url, tablename=tablename)
    store.add_job(job("j"))
    plans: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            plan = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            steps = [step[-1] for step in plan]
            plans.extend(step for step in steps if step.split(" ", 1)[1].startswith(tablename))

    event.listen(store.engine, "before_cursor_execute", explain)
    claimed(store)
    store.get_runs(RunQuery(state=S.RUNNING))
    store.get_runs(RunQuery("j", state=S.WAITING))
    store.claim_lapsed(lambda run: Transition(run, S.LOST, NOON))
    on_runs = [step for step in plans if f"{tablename}_runs" in step]
    assert len(on_runs) == 5
    assert all(f"ix_{tablename}_runs_live" in step for step in on_runs), plans

    plans.clear()
    store.next_wake(())
    store.claim_waiting(NOON, lambda run, job: Transition(run, S.RUNNING), 10)
    on_runs = [step for step in plans if f"{tablename}_runs" in step]
    assert len(on_runs) == 2
    assert all(f"ix_{tablename}_runs_attention" in step for step in on_runs), plans

    plans.clear()
    (run,) = store.get_runs(RunQuery("j"))
    store.get_runs(RunQuery("j", after=run))
    store.get_runs(RunQuery())
    store.get_runs(RunQuery(after=run))
    indexes = [step.partition("USING INDEX ")[2].partition(" ")[0] for step in plans]
    if tablename == TABLE:
        assert indexes == [
            f"ix_{TABLE}_runs_{name}" for name in ("job", "job", "opened", "opened")
        ]
    store.shutdown()
