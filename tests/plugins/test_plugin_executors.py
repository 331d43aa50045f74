"""Executors of 3.x: one that answers later from a thread of its own, and one that never does."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any

import pytest

from apscheduler import current_run
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    EVENT_SCHEDULER_SHUTDOWN,
)
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.testing import ManualScheduler, VirtualClock

START = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = 20


class Postman(BaseExecutor):
    """Takes letters at once, and delivers them from a thread of its own when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: SimpleQueue[tuple[Job, list[datetime]] | None] = SimpleQueue()
        self.may_deliver = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._deliver, daemon=True)

    def start(self, scheduler: Any, alias: str) -> None:
        super().start(scheduler, alias)
        self.thread.start()

    def shutdown(self, wait: bool = True) -> None:
        self.letters.put(None)
        if wait:
            self.thread.join(PATIENCE)

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self.letters.put((job, run_times))

    def _deliver(self) -> None:
        while letter := self.letters.get():
            self.may_deliver.acquire()
            job, run_times = letter
            try:
                events = run_job(job, job._jobstore_alias, run_times, self._logger.name)
            except BaseException as exc:
                self._run_job_error(job.id, exc, exc.__traceback__)
            else:
                self._run_job_success(job.id, events)


class Oblivious(BaseExecutor):
    """Loses what it is given first, and delivers the rest at once."""

    lost = 0

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        if not self.lost:
            self.lost += 1
            return
        self._run_job_success(
            job.id, run_job(job, job._jobstore_alias, run_times, self._logger.name)
        )


class Host(ManualScheduler):
    def __init__(self, executor: BaseExecutor) -> None:
        options: dict[str, Any] = {"executors": {"theirs": executor}, "timezone": "UTC"}
        super().__init__(clock=VirtualClock(START), **options)
        self.heard: SimpleQueue[Any] = SimpleQueue()
        self.add_listener(self.heard.put, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        self.refused: list[datetime] = []
        self.add_listener(
            lambda event: self.refused.extend(event.scheduled_run_times), EVENT_JOB_MAX_INSTANCES
        )
        self.start()

    def ended(self) -> tuple[str, float]:
        event = self.heard.get(timeout=PATIENCE)
        return event.job_id, (event.scheduled_run_time - START).total_seconds()


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_a_job_is_refused_while_its_executor_has_not_answered_and_others_go_on() -> None:
    executor = Postman()
    host = Host(executor)
    options: dict[str, Any] = {"seconds": 10, "misfire_grace_time": None}
    host.add_job(bool, "interval", executor="theirs", id="slow", **options)
    host.add_job(bool, "interval", id="other", **options)
    host.advance(seconds=20)
    assert [host.ended(), host.ended()] == [("other", 10), ("other", 20)]
    assert host.refused == [at(20)]

    executor.may_deliver.release()
    assert host.ended() == ("slow", 10)
    assert executor._instances == {}
    host.advance(seconds=10)
    assert host.ended() == ("other", 30)
    executor.may_deliver.release()
    assert host.ended() == ("slow", 30)
    assert [run.state for run in host.get_runs("slow")].count("skipped") == 1
    host.shutdown()


def test_two_submissions_that_are_on_their_way_are_both_on_record_when_they_arrive() -> None:
    executor = Postman()
    host = Host(executor)
    host.add_job(
        divmod,
        "interval",
        [1, 0],
        seconds=10,
        executor="theirs",
        id="it",
        max_instances=2,
        misfire_grace_time=None,
    )
    host.advance(seconds=30)
    assert host.refused == [at(30)]
    executor.may_deliver.release(2)
    assert [host.ended(), host.ended()] == [("it", 10), ("it", 20)]
    host.shutdown()
    runs = host.get_runs("it")
    assert sorted((run.scheduled_at, str(run.state)) for run in runs) == [
        (at(10), "failed"),
        (at(20), "failed"),
        (at(30), "skipped"),
    ]


def test_a_shutdown_waits_as_the_executor_does_and_is_told_of_last() -> None:
    executor = Postman()
    scheduler = BackgroundScheduler(executors={"default": executor}, timezone="UTC")
    heard: SimpleQueue[Any] = SimpleQueue()
    mask = EVENT_JOB_SUBMITTED | EVENT_JOB_EXECUTED | EVENT_SCHEDULER_SHUTDOWN
    scheduler.add_listener(heard.put, mask)
    scheduler.start()
    scheduler.add_job(bool, misfire_grace_time=None)
    assert heard.get(timeout=PATIENCE).code == EVENT_JOB_SUBMITTED
    waiting = threading.Thread(target=scheduler.shutdown)
    waiting.start()
    executor.may_deliver.release()
    waiting.join(PATIENCE)
    codes = [heard.get(timeout=PATIENCE).code for _ in range(2)]
    assert codes == [EVENT_JOB_EXECUTED, EVENT_SCHEDULER_SHUTDOWN]


def test_a_run_that_is_lost_takes_one_place_and_the_job_runs_in_the_others() -> None:
    host = Host(Oblivious())
    host.add_job(
        bool,
        "interval",
        seconds=10,
        executor="theirs",
        id="it",
        max_instances=2,
        misfire_grace_time=None,
    )
    host.advance(seconds=30)
    assert [host.ended(), host.ended()] == [("it", 20), ("it", 30)]
    assert host.refused == []
    assert [run.scheduled_at for run in host.get_runs("it") if run.state == "running"] == [at(10)]


@pytest.mark.parametrize("options", [{}, {"wait": False}, {"timeout": 0.01}], ids=str)
def test_a_run_that_is_lost_keeps_no_shutdown_waiting(options: dict[str, Any]) -> None:
    scheduler = BackgroundScheduler(executors={"default": Oblivious()}, timezone="UTC")
    submitted: SimpleQueue[Any] = SimpleQueue()
    scheduler.add_listener(submitted.put, EVENT_JOB_SUBMITTED)
    scheduler.start()
    scheduler.add_job(bool, misfire_grace_time=None)
    submitted.get(timeout=PATIENCE)
    ended = threading.Thread(target=scheduler.shutdown, kwargs=options, daemon=True)
    ended.start()
    ended.join(PATIENCE)
    assert not ended.is_alive()


def test_how_late_a_run_is_goes_by_the_clock_of_the_scheduler() -> None:
    executor = Postman()
    host = Host(executor)
    told: SimpleQueue[Any] = SimpleQueue()
    host.add_listener(told.put, EVENT_JOB_EXECUTED | EVENT_JOB_MISSED)
    host.add_job(
        lambda: current_run().lateness,
        "interval",
        seconds=10,
        executor="theirs",
        id="it",
        misfire_grace_time=2,
    )
    for delay in (1, 3):
        host.advance_to(host.get_job("it").next_run_time)
        host.advance(seconds=delay)
        executor.may_deliver.release()
        event = told.get(timeout=PATIENCE)
        ended = event.code, event.scheduled_run_time, event.retval
        assert ended == (
            (EVENT_JOB_EXECUTED, at(10), timedelta(seconds=1))
            if delay == 1
            else (EVENT_JOB_MISSED, at(20), None)
        )
    assert [str(run.state) for run in host.get_runs("it")] == ["missed", "succeeded"]
    host.shutdown()
