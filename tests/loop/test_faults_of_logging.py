"""A logging handler or filter raises: nothing of what was to be done is left undone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from loop_kit import (
    RAN,
    STORES,
    FaultyTrigger,
    HandScheduler,
    HeldExecutor,
    assert_at_rest,
    at,
    ran,
    slots_of,
)

Make = Callable[..., HandScheduler]


class Breaking(logging.Handler):
    """Fails at some of the records, and does not say so to `logging` but to whoever logs."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.nth = range(0)

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        if self.count in self.nth:
            raise OSError("no space left on device")


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Breaking]:
    # The tracebacks of all these failures are not wanted on standard error.
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = Breaking()
    logger = logging.getLogger("apscheduler")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = True


def fails() -> None:
    raise ValueError("as ever")


def scenario(make: Make, nth: range, breaking: Breaking) -> HandScheduler:
    """Let nearly everything go wrong once that there is a log line for."""
    RAN.clear()
    store = STORES["claiming"]()
    trigger = FaultyTrigger(5)
    scheduler = make(jobstores={"default": store}, executors={"held": HeldExecutor()})
    scheduler.add_job(ran, "interval", seconds=10, id="a", misfire_grace_time=None)
    scheduler.add_job(ran, trigger, id="b", misfire_grace_time=None)
    scheduler.add_job(fails, "interval", seconds=10, id="c")
    scheduler.add_job(ran, "interval", seconds=10, id="d", executor="held")
    scheduler.add_job(ran, "interval", seconds=10, id="e", executor="none")
    scheduler.add_job(ran, "interval", seconds=3, id="f")
    scheduler.add_job(ran, "interval", seconds=3, id="g", coalesce=False)
    scheduler.add_job(ran, "date", run_date=at(30), id="h", misfire_grace_time=None)
    scheduler.add_job(ran, "interval", seconds=10, id="z", misfire_grace_time=None)
    scheduler.rest()
    breaking.count, breaking.nth = 0, nth

    trigger.faults.fail("next")
    scheduler.run_until(8)
    store.faults.fail("claim")
    scheduler.run_until(12)
    store.faults.fail("apply")
    scheduler.run_until(21)
    scheduler.clock.jump(seconds=4)
    scheduler.run_until(41)
    return scheduler


@pytest.mark.slow
def test_whichever_record_of_a_turn_cannot_be_logged_every_slot_has_its_answer(
    make: Make, breaking: Breaking
) -> None:
    scenario(make, range(0), breaking)
    records = breaking.count
    assert records > 100

    failed = []
    for nth in range(1, records + 1):
        try:
            scheduler = scenario(make, range(nth, nth + 1), breaking)
        except OSError:
            failed.append((nth, "it came out of the turn"))
            continue
        breaking.nth = range(0)
        for job_id, step in (("a", 10), ("b", 5), ("z", 10)):
            slots = slots_of(job_id)
            if len(slots) != len(set(slots)) or slots[-1:] != [40 // step * step]:
                failed.append((nth, f"{job_id} ran at {slots}"))
        if slots_of("h") != [30]:
            failed.append((nth, f"h ran at {slots_of('h')}"))
        live = {run.job_id for run in scheduler.get_runs(state="running", limit=1000)}
        if live != {"d"}:
            failed.append((nth, f"{live} are left running"))
    assert failed == []


def test_when_nothing_can_be_logged_everything_goes_on(make: Make, breaking: Breaking) -> None:
    scheduler = scenario(make, range(1_000_000), breaking)
    assert slots_of("a")[-1] == slots_of("b")[-1] == slots_of("z")[-1] == 40
    assert slots_of("h") == [30]
    health = scheduler.health()
    assert health.running
    assert health.stores["default"].error is None


@pytest.mark.parametrize("starts", [True, False])
def test_a_job_whose_adding_cannot_be_logged_runs_or_is_not_there(
    breaking: Breaking, starts: bool
) -> None:
    scheduler = HandScheduler()
    if starts:
        scheduler.start()
    heard: list[object] = []
    scheduler.add_listener(heard.append)
    breaking.count, breaking.nth = 0, range(1, 1_000_000)
    try:
        scheduler.add_job(ran, "interval", seconds=10, id="a")
    except OSError:
        assert scheduler.get_jobs() == []
        return
    finally:
        breaking.nth = range(0)
    if not starts:
        scheduler.start()
    scheduler.run_until(25)
    assert slots_of("a") == [10, 20]
    assert_at_rest(scheduler)
    scheduler.shutdown()


def test_a_scheduler_that_cannot_log_that_it_started_is_started(breaking: Breaking) -> None:
    scheduler = HandScheduler()
    breaking.nth = range(1, 1_000_000)
    scheduler.start()
    assert scheduler.running
    scheduler.shutdown()
    assert not scheduler.running


def test_a_message_names_the_place_that_has_something_to_say(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scheduler = make()
    scheduler.add_job(fails, "interval", seconds=10, id="a")
    scheduler.add_job(ran, "interval", seconds=10, id="b", executor="none")
    scheduler.run_until(10)
    places = {" ".join(record.msg.split()[:2]): record.module for record in caplog.records}
    assert places["Scheduler started"] == "base"
    assert places["Added job"] == "_adding"
    assert {record.module for record in caplog.records if "no executor" in record.msg} == {"_loop"}
    assert {record.module for record in caplog.records if "raised" in record.msg} == {"_invoke"}
