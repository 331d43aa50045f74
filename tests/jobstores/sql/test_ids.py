"""Ids that no database takes, and ids that are another one for the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sql_kit import HOUR, LAYOUT_3X, NOON, File, job, started

from apscheduler.jobstores._sql.dialects import Dialect
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.runs import JobQuery, Run, RunQuery
from apscheduler.testing import ManualScheduler

UNHEARD_OF = ["nul\0", "half\udc80", "long" * 100]
slow = pytest.mark.slow


class UnknownDatabaseStore(SQLAlchemyJobStore):
    """Takes its database for one of which nothing is known."""

    _abilities = Dialect


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=slow), pytest.param("mariadb", marks=slow)]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLAlchemyJobStore]:
    if request.param == "sqlite":
        store = started(File(tmp_path).url)
    else:
        store = started(str(request.getfixturevalue(f"{request.param}_url")))
    yield store
    store.shutdown()


@pytest.mark.parametrize("job_id", UNHEARD_OF)
def test_an_id_that_cannot_be_stored_is_that_of_no_job(
    store: SQLAlchemyJobStore, job_id: str
) -> None:
    store.add_job(job("j"))
    assert store.lookup_job(job_id) is None
    assert store.get_runs(RunQuery(job_id)) == []
    assert store.get_changes(job_id) == []
    found = store.find_jobs(JobQuery(ids=frozenset({job_id, "j"})))
    assert [each.id for each in found] == ["j"]


def fail(*arguments: Any) -> Run:
    raise AssertionError(f"asked about {arguments}")


CHANGES: list[Callable[[SQLAlchemyJobStore, str], Any]] = [
    lambda store, id: store.remove_job(id),
    lambda store, id: store.update_job(job(id)),
    lambda store, id: store.modify_job(id, fail),
    lambda store, id: store.replace_job(job(id), fail, NOON),
    lambda store, id: store.open_run(id, fail),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("job_id", UNHEARD_OF)
def test_a_job_by_an_id_that_cannot_be_stored_is_not_there_to_be_changed(
    store: SQLAlchemyJobStore, change: Callable[[SQLAlchemyJobStore, str], Any], job_id: str
) -> None:
    with pytest.raises(JobLookupError):
        change(store, job_id)


@pytest.mark.parametrize("job_id", UNHEARD_OF)
def test_no_job_is_added_by_an_id_that_cannot_be_stored(
    store: SQLAlchemyJobStore, job_id: str
) -> None:
    with pytest.raises(ValueError, match="id of a job"):
        store.add_jobs([job("j"), job(job_id)])
    assert store.get_all_jobs() == []


@pytest.mark.parametrize("change", CHANGES)
def test_spaces_at_the_end_make_another_id(
    store: SQLAlchemyJobStore, change: Callable[[SQLAlchemyJobStore, str], Any]
) -> None:
    store.add_job(job("a", NOON + HOUR))
    with pytest.raises(JobLookupError):
        change(store, "a ")
    found = store.lookup_job("a")
    assert found is not None
    assert found.next_run_time == NOON + HOUR
    assert store.lookup_job("a ") is None


@pytest.mark.parametrize("change", CHANGES)
def test_a_job_is_left_alone_whose_id_only_equals_another_for_the_database(
    tmp_path: Path, change: Callable[[SQLAlchemyJobStore, str], Any]
) -> None:
    file = File(tmp_path)
    file.run(LAYOUT_3X.replace("id VARCHAR(191)", "id VARCHAR(191) COLLATE NOCASE"))
    store = UnknownDatabaseStore(file.url)
    store.start(ManualScheduler(), "store")
    store.add_job(job("a", NOON + HOUR))
    with pytest.raises(JobLookupError):
        change(store, "A")
    found = store.lookup_job("a")
    assert found is not None
    assert found.next_run_time == NOON + HOUR
    store.update_job(job("a", NOON))
    store.remove_job("a")
    assert store.get_all_jobs() == []
    store.shutdown()


def test_a_job_is_added_though_another_one_had_its_id_until_just_now(
    store: SQLAlchemyJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_job(job("j"))
    select_ids = store._jobs.select_ids

    def after_a_removal(ids: Any) -> set[str]:
        store.remove_job("j")
        return select_ids(ids)

    monkeypatch.setattr(store._jobs, "select_ids", after_a_removal)
    store.add_jobs([job("i"), job("j", NOON + HOUR)])
    assert [found.id for found in store.get_all_jobs()] == ["i", "j"]
    monkeypatch.undo()
    with pytest.raises(ConflictingIdError):
        store.add_job(job("j"))
