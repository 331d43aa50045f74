"""What a scheduler says and does where it shares its job store with others."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sharing_kit import START, Company, Node, ran

from apscheduler.events import EVENT_JOB_ADDED
from apscheduler.job import Job
from apscheduler.jobstores.base import JobLookupError, UnreadableJobError
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore


def stopped(company: Company, store: SQLAlchemyJobStore | None = None) -> Node:
    """Return a scheduler that is not started."""
    store = store or SQLAlchemyJobStore(company.url)
    node = Node(jobstores={"default": store}, clock=company.clock, timezone=UTC)
    company.made.append(node)
    return node


# -- a job that others add, run or remove at the same time ------------------------------------


class OvertakenStore(SQLAlchemyJobStore):
    """Another process takes the job away each time it is about to be replaced."""

    def __init__(self, url: str, times: int) -> None:
        super().__init__(url)
        self.times = times

    def replace_job(self, job: Job, keeps_phase: Any, born: datetime) -> bool:
        if self.times:
            self.times -= 1
            self.remove_job(job.id)
        return super().replace_job(job, keeps_phase, born)


@pytest.mark.parametrize("together", [False, True])
def test_a_job_is_added_though_the_one_it_replaces_was_just_run(
    company: Company, together: bool
) -> None:
    one = company.new()
    one.add_job(ran, "interval", hours=1, id="boot")
    other = stopped(company, OvertakenStore(company.url, 1))
    other.start()
    if together:
        other.add_jobs([{"func": ran, "id": "boot"}], replace_existing=True)
    else:
        other.add_job(ran, id="boot", replace_existing=True)
    job = one.get_job("boot")
    assert job is not None
    assert job.next_run_time == company.clock.now()


def test_a_replaced_job_that_is_gone_does_not_leave_its_schedule_to_the_new_one(
    company: Company,
) -> None:
    one = company.new()
    one.add_job(ran, "interval", minutes=10, id="j")

    class GoneStore(SQLAlchemyJobStore):
        was_asked = False

        def replace_job(self, job: Job, keeps_phase: Any, born: datetime) -> bool:
            if self.was_asked:
                return super().replace_job(job, keeps_phase, born)
            self.was_asked = True
            stored = self.lookup_job(job.id)
            assert stored is not None
            assert keeps_phase(stored)
            self.remove_job(job.id)
            raise JobLookupError(job.id)

    other = stopped(company, GoneStore(company.url))
    other.start()
    company.clock.advance(minutes=3)
    new = other.add_job(ran, "interval", minutes=10, id="j", replace_existing=True)
    stored = one.get_job("j")
    assert stored is not None
    assert stored.next_run_time == new.next_run_time
    assert (stored.next_run_time - company.clock.now()).total_seconds() == 600


def test_a_job_that_is_always_gone_before_it_is_replaced_is_given_up(company: Company) -> None:
    one = company.new()

    class HauntedStore(SQLAlchemyJobStore):
        tries = 0

        def replace_job(self, job: Job, keeps_phase: Any, born: datetime) -> bool:
            self.tries += 1
            self.remove_job(job.id)
            try:
                return super().replace_job(job, keeps_phase, born)
            finally:
                one.add_job(ran, "interval", hours=1, id="j")

    store = HauntedStore(company.url)
    other = stopped(company, store)
    other.start()
    one.add_job(ran, "interval", hours=1, id="j")
    with pytest.raises(JobLookupError):
        other.add_job(ran, id="j", replace_existing=True)
    assert store.tries == 10


# -- a start that fails -----------------------------------------------------------------------


def failing_start(company: Company, **options: Any) -> Node:
    """Return a scheduler whose second pending job cannot be stored."""
    node = stopped(company)
    node.add_job(ran, "interval", hours=1, id="shared", **options)
    node.add_job(lambda: None, "interval", hours=1, id="broken")
    return node


def start_and_fail(node: Node) -> None:
    with pytest.raises(ValueError, match="cannot be serialized"):
        node.start()


def test_a_start_that_fails_leaves_a_job_that_another_has_made_its_own(company: Company) -> None:
    good = company.new()
    bad = failing_start(company, replace_existing=True)
    bad.add_listener(
        lambda event: good.add_job(ran, "interval", hours=1, id="shared", replace_existing=True),
        EVENT_JOB_ADDED,
    )
    start_and_fail(bad)
    assert good.get_job("shared") is not None


def test_a_start_that_fails_leaves_a_job_that_another_has_changed(company: Company) -> None:
    good = company.new()
    bad = failing_start(company)
    bad.add_listener(lambda event: good.pause_job("shared"), EVENT_JOB_ADDED)
    start_and_fail(bad)
    assert good.get_job("shared") is not None


def test_a_start_that_fails_takes_back_what_nobody_else_has_touched(company: Company) -> None:
    good = company.new()
    bad = failing_start(company)
    start_and_fail(bad)
    assert good.get_jobs() == []
    bad.remove_job("broken")
    bad.start()
    assert [job.id for job in good.get_jobs()] == ["shared"]


def test_a_start_that_fails_does_not_miss_what_another_has_removed(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    good = company.new()
    bad = failing_start(company)
    bad.add_listener(lambda event: good.remove_job("shared"), EVENT_JOB_ADDED)
    start_and_fail(bad)
    assert "Error undoing" not in caplog.text


def test_a_start_that_failed_can_be_repeated_with_jobs_that_replace(company: Company) -> None:
    good = company.new()
    bad = failing_start(company, replace_existing=True)
    start_and_fail(bad)
    bad.remove_job("broken")
    bad.start()
    assert [job.id for job in good.get_jobs()] == ["shared"]


# -- a job that cannot be read ----------------------------------------------------------------


def spoil(node: Node, job_id: str = "j") -> None:
    node.do("UPDATE apscheduler_jobs SET job_state = :state WHERE id = :id", state=b"?", id=job_id)


@pytest.fixture
def spoilt(company: Company) -> Node:
    """A scheduler with a job that ran once and cannot be read any more."""
    node = company.new()
    node.add_job(ran, "interval", seconds=10, start_date=START, id="j")
    node.run_due()
    spoil(node)
    return node


@pytest.mark.parametrize(
    "call", ["modify_job", "pause_job", "resume_job", "reschedule_job", "run_now"]
)
def test_a_job_that_cannot_be_read_is_not_called_unknown(spoilt: Node, call: str) -> None:
    with pytest.raises(UnreadableJobError, match="j cannot be read: UnpicklingError"):
        getattr(spoilt, call)("j")


def test_a_job_that_cannot_be_read_is_explained_with_the_reason(spoilt: Node) -> None:
    assert "j cannot be read: UnpicklingError" in spoilt.explain("j")
    later = START + timedelta(seconds=10)
    assert "j cannot be read: UnpicklingError" in spoilt.explain("j", later)


def test_what_became_of_a_run_is_told_though_its_job_cannot_be_read(spoilt: Node) -> None:
    assert "succeeded" in spoilt.explain("j", START)


def test_a_job_that_cannot_be_read_is_none_that_can_be_got(spoilt: Node) -> None:
    assert spoilt.get_job("j") is None


def test_a_job_that_cannot_be_read_can_be_removed(spoilt: Node) -> None:
    spoilt.remove_job("j")
    assert spoilt.get_quarantined_jobs() == []
    with pytest.raises(JobLookupError):
        spoilt.pause_job("j")


def test_an_unknown_job_is_unknown_though_another_cannot_be_read(spoilt: Node) -> None:
    with pytest.raises(JobLookupError):
        spoilt.pause_job("other")


def test_health_tells_of_jobs_that_cannot_be_read(spoilt: Node) -> None:
    assert spoilt.health().ok
    spoilt.get_jobs()
    health = spoilt.health()
    assert [job.job_id for job in health.quarantined] == ["j"]
    assert "UnpicklingError" in health.quarantined[0].reason
    assert not health.ok
    spoilt.remove_job("j")
    assert spoilt.health().ok


# -- a store that could be shared, and is not -------------------------------------------------


class LoggingStore(SQLAlchemyJobStore):
    """As somebody may have written it for 3.x."""

    def update_job(self, job: Job, *args: Any) -> None:
        super().update_job(job, *args)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("late", [False, True])
def test_a_store_that_is_not_shared_for_what_it_overrides_is_warned_of_once(
    company: Company, caplog: pytest.LogCaptureFixture, late: bool
) -> None:
    if late:
        node = company.new()
        node.add_jobstore(LoggingStore(company.url), "own")
    else:
        node = stopped(company, LoggingStore(company.url))
        node.start()
    (warning,) = warnings(caplog)
    assert "LoggingStore" in warning
    assert "overrides update_job()," in warning


def test_a_store_that_is_shared_is_not_warned_of(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    class Named(SQLAlchemyJobStore):
        def __repr__(self) -> str:
            return "<mine>"

    stopped(company, Named(company.url)).start()
    assert warnings(caplog) == []


# -- a scheduler that is stopped --------------------------------------------------------------


def test_a_scheduler_that_was_not_started_tells_of_no_runs(company: Company) -> None:
    node = stopped(company)
    assert node.get_runs() == []
    with pytest.raises(JobLookupError):
        node.explain("j")
    node.add_job(ran, "interval", hours=1, id="j")
    assert "pending until the scheduler starts" in node.explain("j")


def test_a_scheduler_that_was_shut_down_asks_no_database(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = company.new()
    node.add_job(ran, "interval", hours=1, start_date=START, id="j")
    node.run_due()
    assert len(node.get_runs()) == 1
    node.shutdown()

    def connect() -> None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(node.store.engine, "connect", connect)
    monkeypatch.setattr(node.store.engine, "begin", connect)
    assert node.get_runs() == []
    with pytest.raises(JobLookupError):
        node.explain("j")


# -- all jobs removed -------------------------------------------------------------------------


def hourly(count: int) -> list[dict[str, Any]]:
    return [
        {"func": ran, "trigger": "interval", "hours": 1, "id": f"{number:03}"}
        for number in range(count)
    ]


@pytest.mark.parametrize(("count", "noted"), [(100, 100), (101, 0)])
def test_of_many_jobs_that_are_all_removed_each_is_not_noted(
    company: Company, monkeypatch: pytest.MonkeyPatch, count: int, noted: int
) -> None:
    node = company.new()
    node.add_jobs(hourly(count))
    notes: list[str] = []
    note = node.store.note
    monkeypatch.setattr(
        node.store, "note", lambda change: (notes.append(change.job_id), note(change))
    )
    node.remove_all_jobs()
    assert node.get_jobs() == []
    assert len(notes) == noted
    if noted:
        assert "the job was removed at 2030-01-01 00:00:00" in node.explain("042")
