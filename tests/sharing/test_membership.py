"""A node says that it is alive, goes by the time of its store, and notices who is dead."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest

from apscheduler import _sharing
from apscheduler._house import Voice
from apscheduler._sharing import Membership, is_gone, this_process
from apscheduler.clock import SYSTEM_CLOCK, Clock, ShiftedClock
from apscheduler.nodes import Beat, Node
from apscheduler.runs import replace
from apscheduler.testing import VirtualClock

PATIENCE = 20


class Home:
    """A scheduler, as far as a member needs one."""

    def __init__(self) -> None:
        self._clock: Clock = SYSTEM_CLOCK
        self._executors = {"default": object()}
        self._logger = logging.getLogger("apscheduler.scheduler")
        self.woken = Event()
        self.cut_off = Event()
        self.corrections = 0

    def wakeup(self) -> None:
        self.woken.set()

    def may_set_clock(self, alias: str, is_in_company: bool) -> bool:
        return True

    def clock_was_corrected(self, by: timedelta) -> None:
        self.corrections += 1

    def lease_lost(self, alias: str) -> None:
        self.cut_off.set()


class Register:
    """A job store, as far as a member needs one."""

    lease = 30.0
    can_watch = False

    def __init__(self) -> None:
        self.answers: list[Callable[[], Beat]] = []
        self.beats: list[Node] = []
        self.left: list[str] = []
        self.pruned = Event()
        self.heard = Event()
        self.edits: list[bool] = []

    def beat(self, node: Node) -> Beat:
        self.beats.append(node)
        answer = self.answers.pop(0) if self.answers else now_and_alone
        try:
            return answer()
        finally:
            if not self.answers:
                self.heard.set()

    def leave(self, node_id: str) -> None:
        self.left.append(node_id)

    def watch(self, timeout: float) -> bool:
        return self.edits.pop(0) if self.edits else Event().wait(min(timeout, 0.001))

    def unwatch(self) -> None:
        pass

    def prune(self, now: datetime) -> int:
        self.pruned.set()
        return 0


def now_and_alone() -> Beat:
    return Beat(datetime.now(UTC), others=False, anew=False, lapsed=False)


def ahead(seconds: float, others: bool = True) -> Callable[[], Beat]:
    def answer() -> Beat:
        time = datetime.now(UTC) + timedelta(seconds=seconds)
        return Beat(time, others=others, anew=False, lapsed=False)

    return answer


def fails() -> Beat:
    raise OSError("no answer")


@pytest.fixture
def home() -> Home:
    return Home()


@pytest.fixture
def register() -> Register:
    return Register()


@pytest.fixture
def make(home: Home, register: Register) -> Any:
    made: list[Membership] = []

    def make_one(real: bool = False) -> Membership:
        house: Any = home
        store: Any = register
        here = this_process("me", datetime.now(UTC), ("default",))
        member = Membership(house, Voice(house), home, "default", store, here, real)
        made.append(member)
        return member

    yield make_one
    for member in made:
        member.leave()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, register: Register) -> None:
    """Let a lease end, and everything else come, within milliseconds."""
    register.lease = 0.03
    monkeypatch.setattr(_sharing, "PRUNE_EVERY", 0.001)


# -- the time of the store --------------------------------------------------------------------


def test_while_others_are_alive_a_node_goes_by_the_time_of_the_store(
    make: Any, home: Home, register: Register, caplog: pytest.LogCaptureFixture
) -> None:
    register.answers = [ahead(180)]
    make().join()
    assert isinstance(home._clock, ShiftedClock)
    assert abs(home._clock.offset.total_seconds() - 180) < 1
    assert home.corrections == 1
    assert "The clock of this machine is 180.0 s behind that of job store" in caplog.text


def test_a_node_that_is_alone_goes_by_its_own_clock(
    make: Any, home: Home, register: Register
) -> None:
    register.answers = [ahead(180, others=False)]
    make().join()
    assert home._clock is SYSTEM_CLOCK
    assert home.corrections == 0


def test_a_node_that_is_left_alone_for_a_lease_goes_by_its_own_clock_again(
    make: Any, home: Home, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = 1000.0
    monkeypatch.setattr(_sharing, "since_boot", lambda: time)
    register.answers = [ahead(-180), ahead(-180), *[ahead(-180, others=False)] * 3]
    member = make()
    for _ in range(3):
        member.rejoin()
        # After an outage, too, nobody is heard of at first.
        assert isinstance(home._clock, ShiftedClock)
    time += 29
    member.rejoin()
    assert isinstance(home._clock, ShiftedClock)
    assert home.corrections == 1
    time += 2
    member.rejoin()
    assert home._clock is SYSTEM_CLOCK
    assert home.corrections == 2


def test_a_node_that_joins_after_an_outage_counts_those_who_were_there_before(
    make: Any, home: Home, register: Register
) -> None:
    def answer() -> Beat:
        time = datetime.now(UTC) + timedelta(seconds=180)
        return Beat(time, others=False, anew=True, lapsed=True)

    register.answers = [answer]
    make().join()
    assert isinstance(home._clock, ShiftedClock)


def test_what_a_question_takes_on_its_way_is_no_difference(
    make: Any, home: Home, register: Register
) -> None:
    register.answers = [ahead(0.05)]
    make().join()
    assert home._clock is SYSTEM_CLOCK


def test_an_answer_that_took_long_says_little_of_the_time(
    make: Any, home: Home, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1000.0, 1003.0])
    monkeypatch.setattr(_sharing, "since_boot", lambda: next(times, 1003.0))
    register.answers = [ahead(0)]
    make().join()
    assert home._clock is SYSTEM_CLOCK


def test_a_clock_that_the_program_chose_is_left_alone(
    make: Any, home: Home, register: Register
) -> None:
    home._clock = chosen = VirtualClock(datetime.now(UTC))
    register.answers = [ahead(180)]
    make().join()
    assert home._clock is chosen


# -- beats ------------------------------------------------------------------------------------


def test_a_node_is_heard_of_again_before_its_lease_ends(
    make: Any, register: Register, short: None
) -> None:
    register.answers = [now_and_alone] * 5
    make(real=True).join()
    assert register.heard.wait(PATIENCE)
    assert {node.id for node in register.beats} == {"me"}


def test_a_beat_that_fails_is_said_once_and_tried_again(
    make: Any, home: Home, register: Register, short: None, caplog: pytest.LogCaptureFixture
) -> None:
    register.answers = [now_and_alone, fails, fails, fails, now_and_alone]
    make(real=True).join()
    assert register.heard.wait(PATIENCE)
    told = [r for r in caplog.records if "could not be told" in r.getMessage()]
    assert len(told) == 1


def test_a_node_that_was_forgotten_hears_of_it(
    make: Any, home: Home, register: Register, short: None
) -> None:
    register.answers = [
        now_and_alone,
        lambda: Beat(datetime.now(UTC), others=True, anew=True, lapsed=False),
    ]
    make(real=True).join()
    assert home.cut_off.wait(PATIENCE)


def test_a_node_that_hears_of_a_dead_one_wakes_its_scheduler(
    make: Any, home: Home, register: Register, short: None
) -> None:
    register.answers = [
        now_and_alone,
        lambda: Beat(datetime.now(UTC), others=True, anew=False, lapsed=True),
    ]
    make(real=True).join()
    assert home.woken.wait(PATIENCE)


def test_an_edit_that_is_seen_wakes_the_scheduler(
    make: Any, home: Home, register: Register
) -> None:
    register.can_watch = True
    register.edits = [False, True]
    make(real=True).join()
    assert home.woken.wait(PATIENCE)


def test_old_runs_are_looked_for_now_and_then(make: Any, register: Register, short: None) -> None:
    make(real=True).join()
    assert register.pruned.wait(PATIENCE)


def test_nothing_is_said_after_goodbye(make: Any, register: Register) -> None:
    member = make()
    member.join()
    member.leave()
    member.rejoin()
    assert len(register.beats) == 1
    assert register.left == ["me"]


# -- safety -----------------------------------------------------------------------------------


def test_a_node_that_was_not_heard_for_a_whole_lease_begins_nothing(
    make: Any, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = 1000.0
    monkeypatch.setattr(_sharing, "since_boot", lambda: time)
    member = make(real=True)
    member._beat()
    assert member.is_safe
    time += 29.9
    assert member.is_safe
    time += 0.2
    assert not member.is_safe
    member._beat()
    assert member.is_safe


def test_at_first_and_after_an_outage_the_others_are_given_time_to_be_heard(
    make: Any, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = 1000.0
    monkeypatch.setattr(_sharing, "since_boot", lambda: time)
    member = make(real=True)
    member._beat()
    assert not member.may_declare_dead
    time += 16
    assert member.may_declare_dead
    register.answers = [fails]
    assert not member._beats()
    assert not member.may_declare_dead
    time += 60
    assert member._beats()
    assert not member.may_declare_dead
    time += 16
    assert member.may_declare_dead


def test_that_nobody_else_is_there_holds_for_a_moment_and_until_something_is_begun(
    make: Any, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = 1000.0
    monkeypatch.setattr(_sharing, "since_boot", lambda: time)
    member = make(real=True)
    assert not member.is_alone
    member._beat()
    assert member.is_alone
    time += 0.6
    assert not member.is_alone
    member._beat()
    member.offers(("default",), since=datetime.now(UTC))
    assert not member.is_alone
    for found in {"others": True, "lapsed": False}, {"others": False, "lapsed": True}:
        answer = Beat(datetime.now(UTC), anew=False, **found)
        register.answers = [lambda answer=answer: answer]
        member._beat()
        assert not member.is_alone


# -- neighbours -------------------------------------------------------------------------------


def test_a_process_of_this_machine_that_has_ended_is_gone() -> None:
    here = this_process("me", datetime.now(UTC), ())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = _sharing._started(child.pid)
        there = replace(here, id="it", pid=child.pid, process_started=started)
        assert started
        assert not is_gone(there, here)
        # Another process may have its number by now.
        assert is_gone(replace(there, process_started="1"), here)
        assert child.stdin is not None
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(there, here)
    assert is_gone(there, here)
    assert not is_gone(here, here)


def test_a_process_that_may_not_be_looked_at_is_not_taken_for_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = this_process("me", datetime.now(UTC), ())
    monkeypatch.setattr(_sharing, "_started", lambda pid: None)
    assert not is_gone(replace(here, id="it", pid=os.getppid()), here)
    assert is_gone(replace(here, id="it", pid=2**22 + 1), here)


@pytest.mark.parametrize("difference", [{"host": "elsewhere"}, {"boot": "before"}])
def test_of_processes_elsewhere_nothing_is_known(difference: dict[str, str]) -> None:
    here = this_process("me", datetime.now(UTC), ())
    assert not is_gone(replace(here, id="it", pid=2**22, **difference), here)
    assert not is_gone(replace(here, id="it", pid=2**22, boot=""), replace(here, boot=""))
