"""Rows and Runs that refer to what cannot be imported here, or whose import goes wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sql_kit import HOUR, NOON, File, claimed, job, started, work

from apscheduler import _engine
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.runs import Due, Plan, Run, RunQuery, RunState, Transition, replace
from apscheduler.testing.decisions import SECOND, opening, run_of, starting

S = RunState
MODULE = "a_module_that_comes_and_goes"


class Module:
    """A module that can be taken away."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{MODULE}.py"
        self.write("def work(): ...\n")

    def write(self, source: str) -> None:
        sys.modules.pop(MODULE, None)
        self._path.write_text(source)

    def take_away(self) -> None:
        self.write("raise ImportError('it is not here')\n")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Module(tmp_path)
    sys.modules.pop(MODULE, None)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.slow),
        pytest.param("mariadb", marks=pytest.mark.slow),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLAlchemyJobStore]:
    if request.param == "sqlite":
        store = started(File(tmp_path).url)
    else:
        store = started(str(request.getfixturevalue(f"{request.param}_url")))
    yield store
    store.shutdown()


def holding(due: Due) -> Plan:
    """Decide that a Run is opened that holds its job, and that the job runs again later."""
    run = replace(run_of(due), definition=due.job)
    return Plan(due.slot + HOUR, due.slot, (run,))


def waiting(due: Due) -> Plan:
    """Decide the same of a Run that waits for a moment."""
    run = replace(run_of(due), definition=due.job, state=S.WAITING, attention_at=NOON)
    return Plan(due.slot + HOUR, due.slot, (run,))


def add_job(store: SQLAlchemyJobStore, recover: bool = True) -> None:
    added = job("j", func=f"{MODULE}:work")
    added.recover = recover
    store.add_job(added)


def lapse(run: Run) -> Transition:
    return _engine.lapse(NOON + SECOND, run, lambda: "again")


def test_a_run_is_recovered_by_a_node_that_cannot_import_its_job(
    store: SQLAlchemyJobStore, module: Module, caplog: pytest.LogCaptureFixture
) -> None:
    add_job(store)
    store.claim(NOON, holding, 10, ())
    store.remove_job("j")
    module.take_away()
    ((_, transition),) = store.claim_lapsed(lapse)
    assert transition.after is S.LOST
    assert transition.follow_up is not None
    assert caplog.records == []

    module.write("def work(): ...\n")
    ((run, found),) = store.claim_waiting(NOON + SECOND, starting, 10, node="here")
    assert (run.id, found.func_ref, found.recover) == ("again", f"{MODULE}:work", True)


def test_a_run_whose_job_is_not_to_be_recovered_is_lost_whoever_looks(
    store: SQLAlchemyJobStore, module: Module
) -> None:
    add_job(store, recover=False)
    store.claim(NOON, holding, 10, ())
    module.take_away()
    ((_, transition),) = store.claim_lapsed(lapse)
    assert (transition.after, transition.follow_up) == (S.LOST, None)


@pytest.fixture
def unreadable_run(store: SQLAlchemyJobStore, module: Module) -> str:
    """Return the id of a waiting Run that holds what cannot be read; its job was replaced."""
    add_job(store)
    store.claim(NOON, waiting, 10, ())
    module.take_away()
    store.replace_job(job("j", NOON + HOUR), lambda stored: False, NOON)
    (run,) = store.get_runs(RunQuery())
    return run.id


def never(run: Run, found: Any) -> Transition:
    raise AssertionError(f"asked about {run}")


def test_a_run_that_cannot_be_read_waits_and_is_told_of_once(
    store: SQLAlchemyJobStore, unreadable_run: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    for _ in range(3):
        assert store.claim_waiting(NOON + SECOND, never, 10) == []
    (record,) = [each for each in caplog.records if "what run" in each.getMessage()]
    assert unreadable_run in record.getMessage()
    (run,) = store.get_runs(RunQuery())
    assert run.state is S.WAITING


def test_a_run_that_cannot_be_read_does_not_hide_the_job_of_its_id(
    store: SQLAlchemyJobStore, unreadable_run: str
) -> None:
    store.claim_waiting(NOON + SECOND, never, 10)
    instances: list[int] = []

    def decide(due: Due) -> Plan:
        instances.append(due.live.instances)
        return opening(due)

    assert claimed(store, NOON + HOUR, decide) == ["j"]
    assert claimed(store, NOON + 2 * HOUR, decide) == ["j"]
    # What waits for somebody else is no instance; what runs is one.
    assert instances == [0, 1]
    found = store.lookup_job("j")
    assert found is not None
    assert found.func is work
    assert store.get_quarantined_jobs() == []


def test_a_run_that_cannot_be_read_wakes_nobody(
    store: SQLAlchemyJobStore, unreadable_run: str
) -> None:
    assert store.next_wake(()) == NOON
    store.claim_waiting(NOON + SECOND, never, 10)
    assert store.next_wake(()) == NOON + HOUR
    assert store.next_wake((), ["default"]) == NOON + HOUR


def test_to_list_runs_that_cannot_be_read_does_not_keep_them_from_being_started(
    store: SQLAlchemyJobStore, module: Module
) -> None:
    add_job(store)
    store.claim(NOON, waiting, 10, ())
    store.modify_job("j", lambda stored: stored._modify(func=work))
    module.take_away()
    (run,) = store.get_runs(RunQuery(state=S.WAITING))
    assert run.definition is None
    assert store.next_wake(()) == NOON
    ((started_run, found),) = store.claim_waiting(NOON, starting, 10)
    assert (started_run.id, found.func) == (run.id, work)


def test_a_run_that_cannot_be_read_is_tried_again_by_a_store_that_is_started(
    store: SQLAlchemyJobStore, unreadable_run: str, module: Module
) -> None:
    store.claim_waiting(NOON + SECOND, never, 10)
    module.write("def work(): ...\n")
    other = started(str(store.engine.url))
    ((run, found),) = other.claim_waiting(NOON + SECOND, starting, 10)
    assert (run.id, found.func_ref) == (unreadable_run, f"{MODULE}:work")
    other.shutdown()


def test_a_run_that_could_not_be_read_is_forgotten_when_it_has_ended(
    store: SQLAlchemyJobStore, unreadable_run: str
) -> None:
    store.claim_waiting(NOON + SECOND, never, 10)
    store._runs.release_ended()
    assert store._reader.unreadable_runs == [unreadable_run]
    (run,) = store.get_runs(RunQuery())
    assert store.apply([Transition(run, S.CANCELLED, NOON + SECOND)]) == [True]
    store._runs.release_ended()
    assert store._reader.unreadable_runs == []


@pytest.mark.parametrize(
    "source",
    ["raise SystemExit(1)", "raise BaseException('no')", "raise GeneratorExit"],
)
def test_a_module_that_fails_in_any_way_does_not_hold_up_the_other_jobs(
    store: SQLAlchemyJobStore, module: Module, source: str
) -> None:
    add_job(store)
    store.add_job(job("k"))
    module.write(source)
    assert claimed(store) == ["k"]
    assert [found.id for found in store.get_all_jobs()] == ["k"]
    (unreadable,) = store.get_quarantined_jobs()
    assert unreadable.job_id == "j"


def test_an_interrupt_of_the_user_is_no_fault_of_a_module(
    store: SQLAlchemyJobStore, module: Module
) -> None:
    add_job(store)
    module.write("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        store.get_all_jobs()
    module.write("def work(): ...\n")
    assert claimed(store) == ["j"]


@pytest.mark.parametrize("name", ["GreenletExit", "Timeout"])
def test_what_ends_a_greenlet_is_no_fault_of_a_module(
    store: SQLAlchemyJobStore, module: Module, name: str
) -> None:
    ends: type[BaseException] = getattr(pytest.importorskip("gevent"), name)
    add_job(store)
    module.write(f"import gevent\nraise gevent.{name}")
    with pytest.raises(ends):
        store.get_all_jobs()
    module.write("def work(): ...\n")
    assert claimed(store) == ["j"]
