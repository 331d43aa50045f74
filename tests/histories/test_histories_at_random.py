"""Whatever happens to a scheduler, and in whatever order: each slot has exactly one answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from history_kit import World
from history_things import STORES, Every, at
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

ids = st.sampled_from("abc")
#: From a name to what `add_job` takes, the time being so many seconds after the start.
TRIGGERS: dict[str, Any] = {
    "soon": lambda now: ("date", {"run_date": now + timedelta(seconds=5)}),
    "now": lambda now: ("date", {"run_date": now}),
    "past": lambda now: ("date", {"run_date": now - timedelta(seconds=45)}),
    "10 s": lambda now: ("interval", {"seconds": 10}),
    "10 min": lambda now: ("interval", {"minutes": 10, "start_date": at(17)}),
    "3 times": lambda now: (
        "interval",
        {"seconds": 20, "end_date": now + timedelta(seconds=61)},
    ),
    "cron": lambda now: ("cron", {"second": "*/20"}),
    "day": lambda now: ("calendarinterval", {"days": 1, "hour": 12, "minute": 10}),
    "or": lambda now: OrTrigger(
        [CronTrigger(minute="*/2", timezone="UTC"), CronTrigger(second="30", timezone="UTC")]
    ),
    "custom": lambda now: Every(3),
}
triggers = st.sampled_from(list(TRIGGERS))
EVERY_TEN = ("interval", {"seconds": 10})
policies = st.fixed_dictionaries(
    {
        "coalesce": st.booleans(),
        "max_instances": st.integers(1, 3),
        "misfire_grace_time": st.sampled_from([None, 1, 30, 3000]),
    }
)
moments = st.none() | st.sampled_from([-100, 0, 3, 50])


class Histories(RuleBasedStateMachine):
    @initialize(kind=st.sampled_from(list(STORES)), trigger=triggers, policy=policies)
    def begin(self, kind: str, trigger: str, policy: dict[str, Any]) -> None:
        self.world = World(kind)
        self.world.add("a", EVERY_TEN, **policy)
        self.world.add("b", TRIGGERS[trigger](self.world.now), **policy)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.let_go()

    def running(self) -> bool:
        return hasattr(self, "world") and self.world.scheduler.running

    def stopped(self) -> bool:
        return hasattr(self, "world") and not self.world.scheduler.running

    # -- what users do --------------------------------------------------------------------------

    @precondition(running)
    @rule(
        job_id=ids,
        trigger=triggers,
        policy=policies,
        executor=st.sampled_from(["held", "held", "foreign"]),
    )
    def add(self, job_id: str, trigger: str, policy: dict[str, Any], executor: str) -> None:
        self.world.add(job_id, TRIGGERS[trigger](self.world.now), executor, **policy)

    @precondition(running)
    @rule(job_id=ids, trigger=triggers, moment=moments)
    def add_with_a_next_run_time(self, job_id: str, trigger: str, moment: int | None) -> None:
        given = None if moment is None else self.world.now + timedelta(seconds=moment)
        self.world.add(job_id, TRIGGERS[trigger](self.world.now), next_run_time=given)

    @precondition(running)
    @rule(job_id=ids, policy=policies)
    def modify_the_policy(self, job_id: str, policy: dict[str, Any]) -> None:
        if job_id in self.world.stored():
            self.world.modify(job_id, **policy)

    @precondition(running)
    @rule(job_id=ids, moment=moments)
    def modify_the_next_run_time(self, job_id: str, moment: int | None) -> None:
        if job_id in self.world.stored():
            given = None if moment is None else self.world.now + timedelta(seconds=moment)
            self.world.modify(job_id, next_run_time=given)

    @precondition(running)
    @rule(job_id=ids, trigger=triggers)
    def reschedule(self, job_id: str, trigger: str) -> None:
        if job_id in self.world.stored():
            self.world.reschedule(job_id, TRIGGERS[trigger](self.world.now))

    @precondition(running)
    @rule(job_id=ids, what=st.sampled_from(["pause_job", "resume_job", "remove", "run_now"]))
    def do(self, job_id: str, what: str) -> None:
        if job_id in self.world.stored():
            getattr(self.world, what)(job_id)

    @precondition(running)
    @rule()
    def remove_all(self) -> None:
        self.world.remove_all()

    @precondition(running)
    @rule(what=st.sampled_from(["pause", "resume"]))
    def hold_or_go_on(self, what: str) -> None:
        getattr(self.world, what)()

    @precondition(running)
    @rule()
    def shut_down(self) -> None:
        self.world.shut_down()

    @precondition(stopped)
    @rule()
    def start(self) -> None:
        self.world.start()

    # -- what goes wrong ------------------------------------------------------------------------

    @rule(position=st.integers(0, 9), times=st.integers(1, 3), after=st.booleans())
    def fail(self, position: int, times: int, after: bool) -> None:
        methods = self.world.methods
        self.world.fail(methods[position % len(methods)], times, after)

    @rule(times=st.integers(0, 3))
    def refuse(self, times: int) -> None:
        self.world.refuse(times)

    @rule(deaf=st.booleans())
    def raise_in_a_listener(self, deaf: bool) -> None:
        self.world.deaf = deaf

    @rule(seconds=st.sampled_from([-4000, -90, -2, 2, 90, 4000]))
    def set_the_clock(self, seconds: int) -> None:
        self.world.jump(seconds)

    # -- what time brings -----------------------------------------------------------------------

    @rule(seconds=st.sampled_from([20, 5, 61, 1, 0.5, 0]))
    def advance(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(seconds=st.sampled_from([10, 30]))
    def advance_to_the_next_slot_or_so(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(seconds=st.sampled_from([600, 3600]))
    def advance_far(self, seconds: float) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: hasattr(self, "world") and self.world.desk.open)
    @rule(
        position=st.integers(0, 9),
        how=st.sampled_from(["succeed", "succeed", "fail", "die", "miss"]),
        times=st.integers(1, 3),
    )
    def end(self, position: int, how: str, times: int) -> None:
        for _ in range(times):
            if self.world.desk.open:
                self.world.end(position, how)

    @invariant()
    def every_slot_has_its_answer(self) -> None:
        if hasattr(self, "world"):
            self.world.check()


# What is left out would trace every line of a test that fails: the steps say enough.
PHASES = set(Phase) - {Phase.explain}


def test_every_slot_has_exactly_one_answer_whatever_happens() -> None:
    run_state_machine_as_test(
        Histories, settings=settings(max_examples=50, stateful_step_count=30, phases=PHASES)
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", STORES)
def test_every_slot_has_exactly_one_answer_in_long_histories(kind: str) -> None:
    class OfOneStore(Histories):
        @initialize(kind=st.just(kind), trigger=triggers, policy=policies)
        def begin(self, kind: str, trigger: str, policy: dict[str, Any]) -> None:
            super().begin(kind, trigger, policy)

    run_state_machine_as_test(
        OfOneStore, settings=settings(max_examples=150, stateful_step_count=40, phases=PHASES)
    )
