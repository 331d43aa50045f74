"""A call of the SQL store fails, or a statement of it, at any moment of a scheduler's life."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

import pytest
from fault_kit import RAN, assert_every_slot_is_answered_once, live_runs, ran, slots_of, sqlite_url
from kill_scene import BESIDE, Place, Rows
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError
from wire import Wire

from apscheduler._scribe import Scribe
from apscheduler.health import Health
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.testing import ManualScheduler, VirtualClock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

START = datetime(2030, 1, 1, tzinfo=UTC)
#: What a scheduler calls a store by, once it is started.
SEAM = (
    "claim",
    "claim_waiting",
    "claim_lapsed",
    "apply",
    "next_wake",
    "open_run",
    "get_runs",
    "get_nodes",
    "find_jobs",
    "beat",
)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Faults:
    """Lets one thing fail, by its number.

    :param nth: which; None for nothing
    :param after: whether it is done first
    """

    def __init__(self, nth: int | None = None, after: bool = False) -> None:
        self._moment = nth, after
        self.done: list[str] = []
        self.fired: list[str] = []
        self.asleep = True

    def begin(self, name: str) -> int:
        if not self.asleep:
            self.done.append(name)
        return len(self.done) - 1

    def happens(self, number: int, after: bool) -> bool:
        if self.asleep or self._moment != (number, after) or self.fired:
            return False
        self.fired.append(self.done[number])
        return True


class FailingStore(SQLAlchemyJobStore):
    """A store of which one call fails."""

    faults: Faults


def _failing(name: str) -> Callable[..., Any]:
    method = getattr(SQLAlchemyJobStore, name)

    @wraps(method)
    def call(self: FailingStore, *args: Any, **kwargs: Any) -> Any:
        number = self.faults.begin(name)
        if self.faults.happens(number, False):
            raise OperationalError(name, {}, sqlite3.OperationalError("before"))
        answer = method(self, *args, **kwargs)
        if not self.faults.asleep:
            self.calm_until = None  # Waiting Runs are to be asked for at each turn.
        if self.faults.happens(number, True):
            raise OperationalError(name, {}, sqlite3.OperationalError("after"))
        return answer

    return call


for _name in SEAM:
    setattr(FailingStore, _name, _failing(_name))


class SteadyScheduler(ManualScheduler):
    """Writes the ends of Runs when a turn is over, and not some milliseconds later."""

    def _configure(self, config: dict[str, Any]) -> None:
        self.faults: Faults = config.pop("faults")
        self.said: list[tuple[bool, Health]] = []
        self._woken = False
        super()._configure(config)

    def wakeup(self) -> None:
        self._woken = True

    def _process_jobs(self) -> float | None:
        self._woken = False
        fired = len(self.faults.fired)
        seconds = super()._process_jobs()
        for scribe in self._loop.runner._scribes.values():
            try:
                scribe.flush()
            except Exception as error:
                scribe._failed(error)
        asleep, self.faults.asleep = self.faults.asleep, True
        self.said.append((len(self.faults.fired) > fired, self.health()))
        self.faults.asleep = asleep
        return 0.0 if self._woken else seconds


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scribe, "put", Scribe.keep)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with sqlite_url() as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()


class Lives:
    """Lives of schedulers on one database, which is empty at the beginning of each."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._place = Place(str(engine.url))
        self._empty: Rows = {}

    def live(self, faults: Faults, by_statement: bool) -> SteadyScheduler:
        """Let a scheduler live for 40 seconds; return it."""
        RAN.clear()
        if self._empty:
            self._place.fill(self._empty)
        store = FailingStore(engine=self._engine, poll_interval=5)
        store.faults = Faults() if by_statement else faults
        scheduler = SteadyScheduler(
            clock=VirtualClock(START),
            timezone="UTC",
            jobstores={"default": store},
            job_defaults={"misfire_grace_time": None},
            faults=faults,
        )
        scheduler.start()
        rows = self._place.rows()
        self._empty = {BESIDE[3]: rows[BESIDE[3]]}
        scheduler.add_job(ran, "interval", seconds=10, id="every")
        scheduler.add_job(ran, "interval", seconds=7, id="each", coalesce=False)
        scheduler.add_job(ran, "date", run_date=at(25), id="once")
        scheduler.add_job(ran, "interval", seconds=9, id="recovered", recover=True)
        wire = Wire(self._engine, lambda _, *sent: _break(faults, *sent)) if by_statement else None
        faults.asleep = False
        scheduler.advance(seconds=22)
        try:
            scheduler.run_now("every")
            self.asked = True
        except OperationalError:
            self.asked = False
        # A batch of several slots at once.
        scheduler.clock.advance(seconds=15)
        scheduler.run_due()
        scheduler.advance(seconds=3)
        faults.asleep = True
        if wire is not None:
            wire.cut()
        scheduler.advance(seconds=11)
        return scheduler

    def assert_all_is_well(self, scheduler: SteadyScheduler) -> None:
        for job_id, step in (("every", 10), ("each", 7), ("recovered", 9)):
            every = timedelta(seconds=step)
            assert_every_slot_is_answered_once(scheduler, job_id, at(step), every, at(51))
        assert slots_of("once") == [at(25)]
        manual = [run for run in scheduler.get_runs("every") if run.kind == "manual"]
        if self.asked:
            assert [run.state for run in manual] == ["succeeded"]
        else:
            assert [run.state for run in manual] in ([], ["cancelled"])
        assert live_runs(scheduler) == []
        assert scheduler.health().ok


def _break(faults: Faults, done: bool, statement: str) -> None:
    if not done:
        faults.begin(statement)
    if faults.happens(len(faults.done) - 1, done):
        raise sqlite3.OperationalError("after" if done else "before")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("by_statement", [False, True], ids=["call", "statement"])
def test_whichever_call_fails_each_slot_runs_once_and_health_tells(
    engine: Engine, by_statement: bool, after: bool
) -> None:
    lives = Lives(engine)
    undisturbed = Faults()
    scheduler = lives.live(undisturbed, by_statement)
    lives.assert_all_is_well(scheduler)
    scheduler.shutdown()
    if not by_statement:
        assert set(undisturbed.done) >= set(SEAM) - {"get_runs", "beat"}

    # Statements are many, and much alike.
    for number in range(0, len(undisturbed.done), 3 if by_statement else 1):
        name, faults = undisturbed.done[number], Faults(number, after)
        scheduler = lives.live(faults, by_statement)
        where = f"{number} of {len(undisturbed.done)}: {name}"
        assert faults.fired, where
        try:
            lives.assert_all_is_well(scheduler)
            for failed, health in scheduler.said:
                assert not failed or health.stores["default"].error, health
        except AssertionError as error:
            raise AssertionError(where) from error
        scheduler.shutdown()
