"""What `add_job` and `scheduled_job` make of their arguments."""

from __future__ import annotations

import logging
from datetime import date, datetime, timedelta, timezone
from functools import partial
from zoneinfo import ZoneInfo

import contract_kit
import pytest
from contract_kit import (
    FAR,
    LONG_AGO,
    UTC,
    DictJobStore,
    Greeter,
    SteppingTrigger,
    TurnScheduler,
    add,
    echo,
    greeter,
    ids,
    noop,
    now,
)

from apscheduler.events import EVENT_JOB_ADDED, EVENT_JOB_EXECUTED
from apscheduler.job import Job
from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

STATES = pytest.mark.parametrize("running", [False, True], ids=["pending", "running"])


@pytest.fixture
def added(turns, running):
    """`add_job` of a scheduler that is stopped, or that runs."""
    if running:
        turns.start(paused=True)
    return turns.add_job


@STATES
def test_a_callable_is_taken_as_it_is(added):
    job = added(noop, "date", run_date=FAR)
    assert (job.func, job.func_ref, job.name) == (noop, "contract_kit:noop", "noop")


@STATES
def test_a_textual_reference_is_resolved_at_once(added):
    job = added("contract_kit:Greeter.shout", "date", run_date=FAR)
    assert (job.func(), job.func_ref) == ("GREETER", "contract_kit:Greeter.shout")
    assert job.name == "Greeter.shout"


@STATES
def test_a_reference_through_an_object_keeps_its_own_text(added):
    job = added("contract_kit:greeter.greet", "date", run_date=FAR)
    assert (job.func(), job.func_ref) == ("hello module", "contract_kit:greeter.greet")


@STATES
@pytest.mark.parametrize(
    ("reference", "error", "text"),
    [
        ("noop", ValueError, "Invalid reference"),
        (
            "no_such_module_here:f",
            LookupError,
            "Error resolving reference no_such_module_here:f: could not import module",
        ),
        (
            "contract_kit:nowhere",
            LookupError,
            "Error resolving reference contract_kit:nowhere: error looking up object",
        ),
    ],
)
def test_a_reference_that_leads_nowhere_fails_at_once(turns, added, reference, error, text):
    with pytest.raises(error) as caught:
        added(reference, "date", run_date=FAR)
    assert caught.value.args == (text,)
    assert turns.get_jobs() == []


@STATES
@pytest.mark.parametrize(
    "func",
    [lambda: None, partial(add, 1), Greeter().greet, Greeter.shout, Greeter.hum, len, Greeter],
)
def test_any_callable_can_be_a_job_in_memory(added, func):
    assert added(func, "date", run_date=FAR, args=[[1]] if func is len else ()).func == func


@STATES
def test_a_callable_that_cannot_be_referenced_has_no_reference(added):
    assert added(lambda: None, "date", run_date=FAR).func_ref is None
    assert added(partial(noop), "date", run_date=FAR).func_ref is None


@STATES
@pytest.mark.parametrize(
    ("func", "name"),
    [
        (noop, "noop"),
        (greeter.greet, "Greeter.greet"),
        (contract_kit.Butler.shout, "Butler.shout"),
        (Greeter.hum, "Greeter.hum"),
        (greeter, "Greeter"),
        (partial(noop), "partial"),
        (len, "len"),
    ],
)
def test_a_name_is_derived_from_the_callable(added, func, name):
    args = [[1]] if func is len else ()
    assert added(func, "date", args, run_date=FAR).name == name
    assert added(func, "date", args, run_date=FAR, name="mine").name == "mine"


@STATES
@pytest.mark.parametrize("given", [None, ""])
def test_an_id_is_made_up_where_none_is_given(added, given):
    one = added(noop, "date", run_date=FAR, id=given)
    other = added(noop, "date", run_date=FAR, id=given)
    assert len(one.id) == len(other.id) == 32
    assert int(one.id, 16) != int(other.id, 16)


@STATES
@pytest.mark.parametrize(
    ("args", "stored"),
    [(None, ()), ([1, 2], (1, 2)), (range(1, 3), (1, 2)), ("ab", ("a", "b")), ({"k": 1}, ("k",))],
)
def test_args_become_a_tuple(added, args, stored):
    assert added(echo, "date", args, run_date=FAR).args == stored


@STATES
def test_kwargs_become_a_dict_of_their_own(added):
    given = {"a": 1}
    job = added(echo, "date", kwargs=given, run_date=FAR)
    assert job.kwargs == given
    assert job.kwargs is not given
    assert added(echo, "date", run_date=FAR).kwargs == {}
    assert added(echo, "date", kwargs=[("a", 2)], run_date=FAR).kwargs == {"a": 2}


@STATES
def test_a_trigger_instance_is_used_as_it_is_and_its_arguments_are_ignored(added):
    trigger = SteppingTrigger(FAR)
    job = added(noop, trigger, hours=5, timezone="Nowhere/AtAll")
    assert job.trigger is trigger


@STATES
@pytest.mark.parametrize("trigger", [5, object(), IntervalTrigger])
def test_anything_else_is_no_trigger(turns, added, trigger):
    with pytest.raises(TypeError) as caught:
        added(noop, trigger)
    assert caught.value.args == (
        f"Expected a trigger instance or string, got {type(trigger).__name__} instead",
    )
    assert turns.get_jobs() == []


@STATES
def test_no_trigger_means_now(added):
    before = now()
    job = added(noop)
    assert isinstance(job.trigger, DateTrigger)
    assert before <= job.trigger.run_date <= now()


@STATES
def test_trigger_arguments_without_a_trigger_go_to_a_date_trigger(added):
    assert added(noop, run_date=FAR).trigger.run_date == FAR


def test_a_naive_date_is_taken_in_the_time_zone_of_the_scheduler(make):
    scheduler = make(TurnScheduler, timezone="Asia/Tokyo")
    scheduler.start(paused=True)
    tokyo = ZoneInfo("Asia/Tokyo")
    expected = datetime(2099, 5, 5, 12, tzinfo=tokyo)
    for given in (datetime(2099, 5, 5, 12), "2099-05-05 12:00:00"):
        assert scheduler.add_job(noop, run_date=given).next_run_time == expected
        assert scheduler.add_job(noop, next_run_time=given).next_run_time == expected
    midnight = datetime(2099, 5, 5, tzinfo=tokyo)
    assert scheduler.add_job(noop, next_run_time=date(2099, 5, 5)).next_run_time == midnight
    aware = datetime(2099, 5, 5, tzinfo=timezone(timedelta(hours=-3)))
    assert scheduler.add_job(noop, next_run_time=aware).next_run_time is aware


@STATES
def test_an_explicit_next_run_time_wins_over_the_trigger(turns, added, running):
    job = added(noop, "interval", hours=1, next_run_time=FAR)
    assert job.next_run_time == FAR
    if not running:
        turns.start(paused=True)
    assert job.next_run_time == FAR


@STATES
def test_a_next_run_time_of_none_adds_the_job_paused(turns, added, running):
    job = added(noop, "interval", hours=1, next_run_time=None)
    if not running:
        turns.start(paused=True)
    assert job.next_run_time is None
    assert str(job) == "noop (trigger: interval[1:00:00], paused)"


def test_policies_stay_unset_on_a_pending_job_until_it_is_really_added(turns):
    job = turns.add_job(noop, "interval", hours=1)
    for name in ("misfire_grace_time", "coalesce", "max_instances", "next_run_time"):
        assert not hasattr(job, name)
    turns.start(paused=True)
    assert (job.misfire_grace_time, job.coalesce, job.max_instances) == (1, True, 1)
    assert job.next_run_time is not None


def test_the_next_run_of_a_pending_job_is_computed_at_start(turns):
    asked = []

    class Trigger(SteppingTrigger):
        def get_next_fire_time(self, previous, at):
            asked.append((previous, at))
            return FAR

    turns.add_job(noop, Trigger())
    assert asked == []
    before = now()
    turns.start(paused=True)
    ((previous, at),) = asked
    assert previous is None
    assert before <= at <= now()
    assert str(at.tzinfo) == "UTC"


@STATES
def test_a_trigger_that_never_fires_leaves_a_job_without_a_next_run(turns, added, running):
    job = added(noop, "interval", hours=1, end_date=LONG_AGO, start_date=LONG_AGO, id="over")
    if not running:
        turns.start(paused=True)
    assert job.next_run_time is None
    assert ids(turns.get_jobs()) == ["over"]


@pytest.mark.differs("a trigger with no fire time left is told, not silently stored")
def test_a_trigger_that_never_fires_is_warned_of(turns, caplog):
    turns.start(paused=True)
    turns.add_job(noop, "interval", hours=1, end_date=LONG_AGO, start_date=LONG_AGO)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_past_date_is_stored_as_it_is(turns):
    turns.start(paused=True)
    assert turns.add_job(noop, run_date=LONG_AGO).next_run_time == LONG_AGO


def test_an_executor_is_not_looked_up_when_adding(turns):
    turns.start(paused=True)
    assert turns.add_job(noop, "date", run_date=FAR, executor="nowhere").executor == "nowhere"


def test_a_store_is_looked_up_when_really_adding(turns, heard):
    turns.start(paused=True)
    events = heard(turns)
    with pytest.raises(KeyError) as caught:
        turns.add_job(noop, "date", run_date=FAR, jobstore="nowhere")
    assert caught.value.args == ("No such job store: nowhere",)
    assert (turns.get_jobs(), events.events) == ([], [])


def test_adding_is_announced_and_wakes_a_running_loop_only(turns, heard):
    turns.add_jobstore(MemoryJobStore(), "more")
    turns.start()
    events = heard(turns)
    wakeups = turns.wakeups
    job = turns.add_job(noop, "date", run_date=FAR, id="a", jobstore="more")
    assert [(e.code, e.job_id, e.jobstore) for e in events.events] == [
        (EVENT_JOB_ADDED, "a", "more")
    ]
    assert (turns.wakeups, job.pending, job._jobstore_alias) == (wakeups + 1, False, "more")
    turns.pause()
    turns.add_job(noop, "date", run_date=FAR)
    assert turns.wakeups == wakeups + 1


def test_an_id_is_taken_once_per_store(turns, heard):
    turns.add_jobstore(MemoryJobStore(), "more")
    turns.start(paused=True)
    job = turns.add_job(noop, "date", run_date=FAR, id="same")
    events = heard(turns)
    with pytest.raises(ConflictingIdError) as caught:
        turns.add_job(add, "date", [1], run_date=FAR, id="same")
    assert caught.value.args == ("Job identifier (same) conflicts with an existing job",)
    assert (turns.get_jobs(), turns.get_job("same").func, events.events) == ([job], noop, [])
    assert (
        turns.add_job(add, "date", [1], run_date=FAR, id="same", jobstore="more").pending is False
    )


def test_replacing_puts_the_new_job_in_place_and_announces_an_addition(turns, heard):
    turns.start(paused=True)
    turns.add_job(noop, "date", run_date=FAR, id="same")
    events = heard(turns)
    job = turns.add_job(add, "interval", [1], hours=2, id="same", replace_existing=True)
    assert events.codes == [EVENT_JOB_ADDED]
    (stored,) = turns.get_jobs()
    assert (stored.func, stored.args, str(stored.trigger)) == (add, (1,), "interval[2:00:00]")
    assert stored is job


def test_replacing_what_does_not_exist_adds_it(turns):
    turns.start(paused=True)
    turns.add_job(noop, "date", run_date=FAR, id="new", replace_existing=True)
    assert ids(turns.get_jobs()) == ["new"]


def test_a_pending_job_may_replace_one_of_its_store_at_start(turns):
    turns.add_jobstore(DictJobStore())
    turns.start(paused=True)
    turns.add_job(noop, "date", run_date=FAR, id="same")
    turns.shutdown()
    turns.add_job(add, "date", [1], run_date=FAR, id="same", replace_existing=True)
    turns.start(paused=True)
    assert turns.get_job("same").func is add


@pytest.mark.parametrize(
    ("trigger", "arguments"), [("interval", {"hours": 3}), ("cron", {"minute": "*/7"})]
)
def test_replacing_with_another_trigger_computes_the_next_run_afresh(turns, trigger, arguments):
    turns.start(paused=True)
    turns.add_job(noop, "date", run_date=FAR, id="same")
    job = turns.add_job(noop, trigger, id="same", replace_existing=True, **arguments)
    assert now() < job.next_run_time < FAR


@pytest.mark.differs("deploying again keeps the phase of a job whose trigger is the same")
def test_replacing_with_an_equal_trigger_keeps_the_next_run(turns):
    turns.start(paused=True)
    turns.add_job(noop, "interval", hours=1, id="same")
    before = turns.get_job("same").next_run_time
    again = turns.add_job(add, "interval", [1], hours=1, id="same", replace_existing=True)
    assert again.next_run_time == before
    assert turns.get_job("same").func is add


def test_replacing_a_paused_job_computes_the_next_run_afresh(turns):
    turns.start(paused=True)
    turns.add_job(noop, "interval", hours=1, id="same", next_run_time=None)
    again = turns.add_job(noop, "interval", hours=1, id="same", replace_existing=True)
    assert again.next_run_time > now()


def test_replacing_with_a_next_run_time_uses_it(turns):
    turns.start(paused=True)
    turns.add_job(noop, "interval", hours=1, id="same")
    again = turns.add_job(
        noop, "interval", hours=1, id="same", next_run_time=FAR, replace_existing=True
    )
    assert again.next_run_time == FAR


@pytest.mark.differs("a job by the calendar that starts in the past begins with its next date")
def test_a_job_by_the_calendar_is_never_added_in_the_past(turns):
    turns.start(paused=True)
    job = turns.add_job(noop, "calendarinterval", days=1, start_date="2020-02-02")
    assert job.next_run_time > now()


def test_scheduled_job_returns_the_function_and_adds_it(turns):
    @turns.scheduled_job("interval", hours=2, args=[1], kwargs={"b": 2}, id="decorated", name="n")
    def decorated(a, b):
        """Stay as it is."""

    (job,) = turns.get_jobs()
    assert job.func is decorated
    assert (job.id, job.name, job.args, job.kwargs) == ("decorated", "n", (1,), {"b": 2})


def test_scheduled_job_hands_everything_to_add_job_by_position(turns):
    calls = []
    turns.add_job = lambda *args, **kwargs: calls.append((args, kwargs))
    decorator = turns.scheduled_job(
        "cron",
        [1],
        {"b": 2},
        "id",
        "name",
        5,
        False,
        3,
        FAR,
        "store",
        "executor",
        hour=4,
    )
    assert decorator(noop) is noop
    assert calls == [
        (
            (
                noop,
                "cron",
                [1],
                {"b": 2},
                "id",
                "name",
                5,
                False,
                3,
                FAR,
                "store",
                "executor",
                True,
            ),
            {"hour": 4},
        )
    ]


def test_scheduled_job_replaces_an_existing_job(turns):
    turns.start(paused=True)
    turns.add_job(noop, "date", run_date=FAR, id="same")
    turns.scheduled_job("date", run_date=FAR, args=[1], id="same")(add)
    assert turns.get_job("same").func is add


def test_a_job_without_a_trigger_runs_at_once(turns, heard):
    turns.start()
    events = heard(turns)
    turns.add_job(add, args=[2], kwargs={"b": 3}, id="now")
    turns._process_jobs()
    assert events.of(EVENT_JOB_EXECUTED)[0].retval == 5
    assert turns.get_jobs() == []


def test_add_job_returns_a_job_of_this_scheduler(turns):
    job = turns.add_job(noop, "date", run_date=datetime(2099, 9, 9, tzinfo=UTC))
    assert type(job) is Job
    assert job._scheduler is turns
