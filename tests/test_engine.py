"""What is decided about a due job: given a moment and a job, a plan."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from zoneinfo import ZoneInfo

import pytest

from apscheduler import _engine
from apscheduler.job import Job
from apscheduler.runs import NOTHING_LIVE, Due, Live, Plan, Presence, Run, RunKind, RunState
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from job_kit import NOON, At, Stuck, at, make_job, slots

LONG_HERE = Presence(at(-1e6), "nobody was there")
BERLIN = ZoneInfo("Europe/Berlin")
OVERLAP = "maximum number of running instances reached (1)"


def site() -> _engine.Site:
    numbers = count(1)
    return _engine.Site("store", "node", lambda: f"r{next(numbers)}")


def due(
    job: Job,
    *,
    slot: datetime = NOON,
    born: datetime | None = None,
    last_slot: datetime | None = None,
    live: Live = NOTHING_LIVE,
) -> Due:
    return Due(job, slot, "life", born, last_slot, live)


def decide(
    now: datetime, due: Due, presence: Presence = LONG_HERE, room: int | None = None
) -> Plan:
    plan = _engine.plan(now, due, site(), presence=presence, room=room)
    assert plan is not None
    return plan


def span(run: Run) -> tuple[datetime, datetime, int]:
    return run.first_scheduled_at, run.scheduled_at, run.count


# -- one slot -----------------------------------------------------------------------------------


def test_a_due_slot_is_opened_as_a_running_run() -> None:
    job = make_job(slots(0, 60), name="wash", executor="pool")
    plan = decide(at(0.25), due(job))
    assert plan == Plan(
        next_run_time=at(60),
        last_slot=at(0),
        opened=(
            Run(
                id="r1",
                job_id="j",
                state=RunState.RUNNING,
                kind=RunKind.SLOT,
                scheduled_at=at(0),
                first_scheduled_at=at(0),
                opened_at=at(0.25),
                batch="r1",
                job_name="wash",
                jobstore="store",
                executor="pool",
                node="node",
                incarnation="life",
            ),
        ),
    )


def test_a_slot_is_due_at_its_very_moment() -> None:
    assert decide(at(0), due(make_job(slots(0, 60)))).opened


def test_a_run_needs_no_definition_while_its_job_is_stored() -> None:
    (run,) = decide(at(0), due(make_job(slots(0, 60)))).opened
    assert run.definition is None


@pytest.mark.parametrize("coalesce", [True, False])
def test_the_last_run_of_an_exhausted_trigger_keeps_the_definition(coalesce: bool) -> None:
    job = make_job(slots(0), coalesce=coalesce)
    plan = decide(at(0), due(job))
    assert plan.next_run_time is None
    assert plan.opened[0].definition is job


def test_a_batch_that_exhausts_its_trigger_keeps_the_definition_in_each_run() -> None:
    job = make_job(slots(0, 10, 20), coalesce=False, misfire_grace_time=None)
    plan = decide(at(20), due(job))
    assert plan.next_run_time is None
    assert [run.definition for run in plan.opened] == [job, job, job]


def test_without_room_the_answer_is_not_now() -> None:
    job_is_due = due(make_job(slots(0, 60)))
    assert _engine.plan(at(0), job_is_due, site(), presence=LONG_HERE, room=0) is None
    assert decide(at(0), job_is_due, room=1).opened


# -- coalescing ---------------------------------------------------------------------------------


def test_one_run_stands_for_all_slots_of_a_job_that_coalesces() -> None:
    plan = decide(at(25), due(make_job(slots(0, 10, 20, 30), misfire_grace_time=None)))
    (run,) = plan.opened
    assert span(run) == (at(0), at(20), 3)
    assert (plan.last_slot, plan.next_run_time, plan.closed) == (at(20), at(30), ())


def test_coalesced_slots_of_an_interval_are_counted_by_arithmetic() -> None:
    every_second = IntervalTrigger(seconds=1, start_date=NOON, timezone=UTC)
    plan = decide(at(1e6), due(make_job(every_second, misfire_grace_time=None)))
    (run,) = plan.opened
    assert span(run) == (at(0), at(1e6), 1_000_001)
    assert plan.next_run_time == at(1e6 + 1)


def test_too_many_slots_to_be_listed_are_stepped_over_and_counted_as_a_thousand() -> None:
    job = make_job(slots(*range(2001)), misfire_grace_time=None)
    plan = decide(at(1500.5), due(job))
    (run,) = plan.opened
    assert span(run) == (at(0), at(1500), 1000)
    assert (plan.last_slot, plan.next_run_time) == (at(1500), at(1501))


def test_the_last_slot_of_an_exhausted_trigger_is_found_beyond_those_that_are_listed() -> None:
    plan = decide(at(9999), due(make_job(slots(*range(1501)), misfire_grace_time=None)))
    (run,) = plan.opened
    assert span(run) == (at(0), at(1500), 1000)
    assert plan.next_run_time is None


def test_a_gap_too_long_to_be_listed_leaves_what_is_within_grace_alone() -> None:
    job = make_job(slots(*range(3000)), coalesce=False, misfire_grace_time=2)
    plan = decide(at(2000), due(job), Presence(at(2000), "off"))
    (gap,) = plan.closed
    assert span(gap) == (at(0), at(1997), 1000)
    assert [run.scheduled_at for run in plan.opened] == [at(1998), at(1999), at(2000)]


# -- lateness -----------------------------------------------------------------------------------


@pytest.mark.parametrize("coalesce", [True, False])
def test_a_slot_within_its_grace_runs_late(coalesce: bool) -> None:
    job = make_job(slots(0, 60), coalesce=coalesce)
    plan = decide(at(5), due(job), Presence(at(1), "it was off"))
    assert [span(run) for run in plan.opened] == [(at(0), at(0), 1)]


@pytest.mark.parametrize("coalesce", [True, False])
def test_a_slot_beyond_its_grace_is_missed_because_nobody_was_there(coalesce: bool) -> None:
    job = make_job(slots(0, 60), coalesce=coalesce)
    plan = decide(at(5), due(job), Presence(at(1.1), "it was off"))
    (gap,) = plan.closed
    assert (gap.state, gap.kind, gap.reason) == (RunState.MISSED, RunKind.GAP, "it was off")
    assert (gap.opened_at, gap.ended_at) == (at(5), at(5))
    assert (plan.opened, plan.last_slot, plan.next_run_time) == ((), at(0), at(60))


def test_waiting_while_somebody_was_there_is_never_a_miss() -> None:
    plan = decide(at(3600), due(make_job(slots(0, 7200))), Presence(at(0), "it was off"))
    assert plan.opened
    assert not plan.closed


def test_without_a_grace_time_no_slot_is_too_late() -> None:
    job = make_job(slots(0, 1e7), misfire_grace_time=None)
    plan = decide(at(1e6), due(job), Presence(at(1e6), "it was off"))
    assert plan.opened
    assert not plan.closed


def test_a_longer_grace_time_lets_a_slot_run_that_much_later() -> None:
    job = make_job(slots(0, 600), misfire_grace_time=30)
    assert decide(at(31), due(job), Presence(at(30), "it was off")).opened
    assert decide(at(31), due(job), Presence(at(30.001), "it was off")).closed


def test_a_job_that_was_added_for_a_past_time_is_late_from_then_on() -> None:
    (gap,) = decide(at(100), due(make_job(slots(0, 600)), born=at(99))).closed
    assert gap.reason == "it was scheduled for a time that had passed"


def test_the_latest_of_birth_and_presence_decides_about_lateness() -> None:
    plan = decide(at(100), due(make_job(slots(0, 600)), born=at(-9)), Presence(at(99), "off"))
    assert plan.closed[0].reason == "off"


def test_what_was_decided_last_is_told_in_utc() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    last = first.replace(fold=1)
    for coalesce in (True, False):
        for presence in (LONG_HERE, Presence(at(1e9), "off")):
            job = make_job(At([first, last]), coalesce=coalesce)
            plan = decide(last.astimezone(UTC), due(job, slot=first), presence)
            assert plan.last_slot.tzinfo is UTC
            assert plan.last_slot == last.astimezone(UTC)


@pytest.mark.parametrize(("minute", "is_late"), [(30, True), (59, False)])
def test_lateness_of_a_slot_in_a_fold_is_counted_in_absolute_time(
    minute: int, is_late: bool
) -> None:
    # The clocks of Berlin go back from 03:00 to 02:00, so 02:00 comes right after 02:59.
    slot = datetime(2026, 10, 25, 2, minute, 59, 500_000, tzinfo=BERLIN)
    born = datetime(2026, 10, 25, 2, 0, tzinfo=BERLIN, fold=1)
    job = make_job(At([slot, datetime(2026, 10, 25, 12, 0, tzinfo=BERLIN)]))
    born = born.astimezone(UTC)
    plan = decide(born, due(job, slot=slot, born=born))
    assert bool(plan.closed) is is_late
    assert bool(plan.opened) is not is_late


def test_coalesced_slots_run_if_the_last_of_them_is_within_grace() -> None:
    plan = decide(at(25), due(make_job(slots(0, 10, 20, 30))), Presence(at(20.5), "off"))
    assert [span(run) for run in plan.opened] == [(at(0), at(20), 3)]
    assert not plan.closed


def test_coalesced_slots_that_are_all_too_late_are_one_gap() -> None:
    plan = decide(at(25), due(make_job(slots(0, 10, 20, 30))), Presence(at(24), "off"))
    (gap,) = plan.closed
    assert span(gap) == (at(0), at(20), 3)
    assert (plan.opened, plan.last_slot, plan.next_run_time) == ((), at(20), at(30))


def test_slots_beyond_grace_become_one_gap_and_the_others_runs() -> None:
    job = make_job(slots(0, 10, 20, 30, 40), coalesce=False)
    plan = decide(at(35), due(job), Presence(at(15), "off"))
    (gap,) = plan.closed
    assert span(gap) == (at(0), at(10), 2)
    assert [span(run) for run in plan.opened] == [(at(20), at(20), 1), (at(30), at(30), 1)]
    assert (plan.last_slot, plan.next_run_time) == (at(30), at(40))


def test_a_gap_ends_right_before_the_first_slot_within_grace() -> None:
    job = make_job(slots(0, 9.999999, 10, 20), coalesce=False)
    plan = decide(at(12), due(job), Presence(at(11), "off"))
    assert [span(gap) for gap in plan.closed] == [(at(0), at(9.999999), 2)]
    assert [span(run) for run in plan.opened] == [(at(10), at(10), 1)]


def test_an_exhausted_trigger_whose_slots_were_all_missed_leaves_no_run() -> None:
    plan = decide(at(99), due(make_job(slots(0, 10), coalesce=False)), Presence(at(98), "off"))
    assert [span(gap) for gap in plan.closed] == [(at(0), at(10), 2)]
    assert (plan.opened, plan.next_run_time) == ((), None)


# -- batches ------------------------------------------------------------------------------------


def test_slots_that_do_not_coalesce_are_one_batch_of_which_the_first_run_begins() -> None:
    job = make_job(slots(0, 10, 20, 30), coalesce=False, misfire_grace_time=None)
    plan = decide(at(25), due(job))
    assert [run.scheduled_at for run in plan.opened] == [at(0), at(10), at(20)]
    assert [run.state for run in plan.opened] == ["running", "waiting", "waiting"]
    assert [run.id for run in plan.opened] == ["r1", "r2", "r3"]
    assert {run.batch for run in plan.opened} == {"r1"}
    assert {run.count for run in plan.opened} == {1}
    assert (plan.last_slot, plan.next_run_time) == (at(20), at(30))


def test_a_batch_has_no_more_than_a_hundred_runs() -> None:
    job = make_job(slots(*range(250)), coalesce=False, misfire_grace_time=None)
    plan = decide(at(249), due(job))
    assert len(plan.opened) == 100
    assert (plan.last_slot, plan.next_run_time) == (at(99), at(100))


def test_the_rest_of_a_long_batch_waits_until_the_batch_has_ended() -> None:
    job = make_job(slots(*range(250)), coalesce=False, misfire_grace_time=None, max_instances=2)

    def rest(live: Live) -> Due:
        return due(job, slot=at(100), last_slot=at(99), live=live)

    batch = Live(1, opened_until=at(249))
    assert _engine.plan(at(260), rest(batch), site(), presence=LONG_HERE) is None

    plan = decide(at(260), rest(NOTHING_LIVE))
    assert [span(run) for run in plan.opened][:2] == [
        (at(100), at(100), 1),
        (at(101), at(101), 1),
    ]
    assert (len(plan.opened), plan.next_run_time) == (100, at(200))


def test_the_slot_of_the_moment_at_which_a_batch_was_opened_belongs_to_its_rest() -> None:
    job = make_job(slots(*range(101)), coalesce=False, max_instances=2)
    rest = due(job, slot=at(100), last_slot=at(99), live=Live(1, opened_until=at(100)))
    assert _engine.plan(at(101), rest, site(), presence=LONG_HERE) is None


def test_a_slot_after_a_running_batch_was_opened_does_not_wait_for_it() -> None:
    job = make_job(slots(0, 10, 20), coalesce=False, max_instances=2)
    live = Live(1, opened_until=at(9))
    assert decide(at(10), due(job, slot=at(10), live=live)).opened


def test_what_is_live_does_not_delay_a_job_that_coalesces() -> None:
    job = make_job(slots(0, 10), max_instances=2)
    assert decide(at(5), due(job, live=Live(1, opened_until=at(4)))).opened


# -- overlap ------------------------------------------------------------------------------------


def test_a_slot_is_skipped_while_as_many_instances_are_live_as_may_be() -> None:
    plan = decide(at(10), due(make_job(slots(0, 60)), live=Live(1, at(-60))))
    (skipped,) = plan.closed
    assert (skipped.state, skipped.kind) == (RunState.SKIPPED, RunKind.GAP)
    assert skipped.reason == OVERLAP
    assert skipped.ended_at == at(10)
    assert (plan.opened, plan.last_slot, plan.next_run_time) == ((), at(0), at(60))


def test_fewer_live_instances_than_allowed_skip_nothing() -> None:
    job = make_job(slots(0, 60), max_instances=3)
    assert decide(at(0), due(job, live=Live(2, at(-60)))).opened
    assert decide(at(0), due(job, live=Live(3, at(-60)))).closed


@pytest.mark.parametrize("coalesce", [True, False])
def test_all_slots_that_would_overlap_are_one_record(coalesce: bool) -> None:
    job = make_job(slots(0, 10, 20, 30), coalesce=coalesce)
    plan = decide(at(25), due(job, live=Live(1, at(-60))))
    assert [span(run) for run in plan.closed] == [(at(0), at(20), 3)]
    assert (plan.opened, plan.last_slot, plan.next_run_time) == ((), at(20), at(30))


def test_slots_too_late_and_slots_that_would_overlap_are_told_apart() -> None:
    job = make_job(slots(0, 10, 20, 30), coalesce=False)
    plan = decide(at(25), due(job, live=Live(1, at(-60))), Presence(at(15), "off"))
    assert [(run.state, *span(run)) for run in plan.closed] == [
        (RunState.MISSED, at(0), at(10), 2),
        (RunState.SKIPPED, at(20), at(20), 1),
    ]
    assert (plan.last_slot, plan.next_run_time) == (at(20), at(30))


# -- what was decided before --------------------------------------------------------------------


def test_a_slot_that_was_decided_before_is_stepped_over() -> None:
    job = make_job(slots(0, 10, 20, 30))
    assert decide(at(25), due(job, slot=at(10), last_slot=at(10))) == Plan(at(20), at(10))


def test_an_old_slot_of_an_exhausted_trigger_ends_the_job() -> None:
    assert decide(at(25), due(make_job(slots(0)), last_slot=at(0))) == Plan(None, at(0))


def test_a_slot_after_the_last_decided_one_is_opened() -> None:
    job = make_job(slots(0, 10, 20))
    assert decide(at(10), due(job, slot=at(10), last_slot=at(0))).opened


def test_the_second_half_of_a_fold_is_later_than_its_first() -> None:
    # By the wall clock it is earlier: 02:30 comes before 02:00.
    before, after = (
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
        datetime(2026, 10, 25, 2, 0, tzinfo=BERLIN, fold=1),
    )
    job = make_job(At([before, after]), misfire_grace_time=None)
    last_slot = before.astimezone(UTC)
    plan = decide(after.astimezone(UTC), due(job, slot=after, last_slot=last_slot))
    assert [run.scheduled_at.fold for run in plan.opened] == [1]


# -- triggers that do not do their work ---------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 10])
@pytest.mark.parametrize("coalesce", [True, False])
def test_a_trigger_that_does_not_advance_is_refused(coalesce: bool, seconds: float) -> None:
    job = make_job(Stuck(), coalesce=coalesce)
    with pytest.raises(ValueError, match=r"^the trigger stuck does not advance: after 2026-"):
        decide(at(seconds), due(job))


def test_a_trigger_that_stops_advancing_amid_its_backlog_is_refused() -> None:
    class Sticking(At):
        def get_next_fire_time(
            self, previous_fire_time: datetime | None, now: datetime
        ) -> datetime | None:
            return min(super().get_next_fire_time(previous_fire_time, now), at(20), key=_instant)

    with pytest.raises(ValueError, match="does not advance"):
        decide(at(25), due(make_job(Sticking(slots(0, 10, 20, 30).moments))))


@pytest.mark.parametrize("coalesce", [True, False])
def test_no_slot_is_answered_twice_if_a_long_backlog_makes_a_trigger_start_again(
    coalesce: bool,
) -> None:
    class EverySecondFromNoon(At):
        """Knows no better first answer than its start, as many a trigger of a program's own."""

        def get_next_fire_time(
            self, previous_fire_time: datetime | None, now: datetime
        ) -> datetime | None:
            if previous_fire_time is None:
                return NOON
            return previous_fire_time + timedelta(seconds=1)

    job = make_job(EverySecondFromNoon([]), coalesce=coalesce)
    plan = decide(at(1500), due(job), Presence(at(1499), "off"))
    runs = sorted((*plan.closed, *plan.opened), key=lambda run: run.first_scheduled_at)
    for earlier, later in pairwise(runs):
        assert earlier.scheduled_at < later.first_scheduled_at
    assert all(run.scheduled_at >= at(1498) for run in plan.opened), "opened beyond its grace"
    assert plan.next_run_time is not None
    assert plan.next_run_time > plan.last_slot


def _instant(moment: datetime | None) -> float:
    return moment.timestamp() if moment else float("inf")


# -- the first fire time ------------------------------------------------------------------------


def test_a_first_fire_time_that_is_still_to_come_is_taken_as_it_is() -> None:
    daily = CalendarIntervalTrigger(days=1, hour=7, start_date="2026-03-02", timezone=UTC)
    assert _engine.first_fire_time(daily, NOON) == datetime(2026, 3, 2, 7, tzinfo=UTC)


def test_a_calendar_interval_steps_over_a_start_that_is_past() -> None:
    daily = CalendarIntervalTrigger(days=1, hour=7, start_date="2020-01-01", timezone=UTC)
    assert _engine.first_fire_time(daily, NOON) == datetime(2026, 3, 2, 7, tzinfo=UTC)


def test_a_calendar_interval_may_fire_at_the_very_moment_it_is_added() -> None:
    daily = CalendarIntervalTrigger(days=1, hour=12, start_date="2020-01-01", timezone=UTC)
    assert _engine.first_fire_time(daily, NOON) == NOON


def test_a_calendar_interval_that_ended_in_the_past_has_no_first_fire_time() -> None:
    over = CalendarIntervalTrigger(
        days=1, start_date="2020-01-01", end_date="2020-02-01", timezone=UTC
    )
    assert _engine.first_fire_time(over, NOON) is None


def test_a_past_date_is_a_first_fire_time_like_any_other() -> None:
    assert _engine.first_fire_time(DateTrigger(at(-60)), NOON) == at(-60)


def test_an_exhausted_trigger_has_no_first_fire_time() -> None:
    assert _engine.first_fire_time(slots(-60), NOON) is None


# -- phase --------------------------------------------------------------------------------------


def every(seconds: float, start: datetime = NOON) -> IntervalTrigger:
    return IntervalTrigger(seconds=seconds, start_date=start, timezone=UTC)


def test_a_replacement_with_an_equal_trigger_keeps_the_phase() -> None:
    assert _engine.keeps_phase(make_job(every(60)), make_job(every(60)))


@pytest.mark.parametrize("other", [lambda: every(61), lambda: every(60, at(1)), slots])
def test_a_replacement_with_another_trigger_begins_anew(
    other: Callable[[], IntervalTrigger | At],
) -> None:
    assert not _engine.keeps_phase(make_job(every(60)), make_job(other()))


def test_a_paused_job_has_no_phase_to_keep() -> None:
    paused = make_job(every(60), next_run_time=None)
    assert not _engine.keeps_phase(paused, make_job(every(60)))
