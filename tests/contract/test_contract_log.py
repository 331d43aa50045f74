"""Loggers, levels and texts that people filter on."""

from __future__ import annotations

import logging

import pytest
from contract_kit import FAR, noop, now


@pytest.fixture
def told(caplog):
    """Return what the scheduler's own logger was told, and forget it."""
    caplog.set_level(logging.DEBUG, "apscheduler")

    def take():
        taken = [
            (record.levelname, record.getMessage())
            for record in caplog.records
            if record.name == "apscheduler.scheduler"
        ]
        caplog.clear()
        return taken

    return take


def test_no_handlers_are_installed():
    for name in ("apscheduler", "apscheduler.scheduler", "apscheduler.executors.default"):
        assert logging.getLogger(name).handlers == []


def test_the_life_of_a_scheduler_is_told(turns, told):
    turns.start()
    assert told()[-1] == ("INFO", "Scheduler started")
    turns.pause()
    assert told() == [("INFO", "Paused scheduler job processing")]
    turns.resume()
    assert told() == [("INFO", "Resumed scheduler job processing")]
    turns.shutdown()
    assert told() == [("INFO", "Scheduler has been shut down")]


def test_the_life_of_a_job_is_told(turns, told):
    turns.add_job(noop, "date", run_date=FAR, id="a", name="first")
    assert told() == [
        (
            "INFO",
            "Adding job tentatively -- it will be properly scheduled when the scheduler starts",
        )
    ]
    turns.start(paused=True)
    assert told() == [
        ("INFO", 'Added job "first" to job store "default"'),
        ("INFO", "Scheduler started"),
    ]
    turns.add_job(noop, "date", run_date=FAR, id="b", name="second")
    assert told() == [("INFO", 'Added job "second" to job store "default"')]
    turns.remove_job("a")
    assert told() == [("INFO", "Removed job a")]


def test_a_turn_is_told_to_those_who_debug(turns, told):
    turns.start()
    told()
    turns._process_jobs()
    assert told() == [
        ("DEBUG", "Looking for jobs to run"),
        ("DEBUG", "No jobs; waiting until a job is added"),
    ]
    job = turns.add_job(noop, "date", run_date=FAR)
    told()
    turns._process_jobs()
    looking, waiting = told()
    assert looking == ("DEBUG", "Looking for jobs to run")
    assert waiting[0] == "DEBUG"
    assert waiting[1].startswith(f"Next wakeup is due at {job.next_run_time} (in ")
    assert waiting[1].endswith(" seconds)")


def test_a_run_is_told_by_the_logger_of_its_executor(turns, caplog):
    turns.start()
    turns.add_executor("debug", "mine")
    turns.add_job(noop, "interval", hours=1, next_run_time=now(), name="n", executor="mine")
    with caplog.at_level(logging.INFO):
        turns._process_jobs()
    running, executed = [
        record for record in caplog.records if record.name == "apscheduler.executors.mine"
    ]
    assert running.levelname == executed.levelname == "INFO"
    assert running.getMessage().startswith('Running job "n (trigger: interval[1:00:00]')
    assert "(scheduled at " in running.getMessage()
    assert executed.getMessage().startswith('Job "n (trigger: interval[1:00:00]')
    assert executed.getMessage().endswith(" executed successfully")
