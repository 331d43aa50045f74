"""The definition of a job: what it accepts, when it is due, what it says of itself."""

from __future__ import annotations

import re
import types
import uuid
import weakref
from datetime import UTC, date, datetime

import pytest
import time_machine

from apscheduler.job import MAX_COALESCED, Job
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from lone_jobs import (
    HELSINKI,
    NEW_YEAR,
    SECOND,
    Calls,
    EverySecond,
    Stuck,
    attributes,
    echo,
    greeter,
    make_job,
    noop,
)


@pytest.fixture
def scheduler():
    return Calls()


@pytest.fixture
def job(scheduler):
    return make_job(scheduler)


# A new job


def test_a_new_job_is_pending_and_belongs_to_its_scheduler(job, scheduler):
    assert job.pending
    assert job._jobstore_alias is None
    assert job._scheduler is scheduler
    job._jobstore_alias = "default"
    assert not job.pending


@pytest.mark.parametrize("nothing", [None, "", 0])
def test_a_job_without_an_id_is_given_one_of_its_own(nothing):
    ids = {make_job(id=nothing).id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(id) == 32 and int(id, 16) >= 0 for id in ids)


def test_the_policy_of_a_new_job_is_unset_unless_given(scheduler):
    job = Job(scheduler, "x", func=noop, args=(), kwargs={})
    for name in ("misfire_grace_time", "coalesce", "max_instances", "next_run_time"):
        assert not hasattr(job, name)


def test_a_subclass_can_watch_every_change(scheduler):
    class Watched(Job):
        __slots__ = ("seen",)

        def _modify(self, **changes):
            self.seen = changes

    seen = Watched(scheduler, name="x").seen
    assert len(seen.pop("id")) == 32
    assert seen == {"name": "x"}


def test_a_job_has_only_its_slots_and_can_be_referred_to_weakly(job):
    assert Job.__slots__ == (
        "__weakref__",
        "_born",
        "_due",
        "_incarnation",
        "_jobstore_alias",
        "_kwargs",
        "_last_slot",
        "_options",
        "_scheduler",
        "_slot",
        "_version",
        "args",
        "coalesce",
        "executor",
        "func",
        "func_ref",
        "id",
        "max_instances",
        "misfire_grace_time",
        "name",
        "next_run_time",
        "trigger",
    )
    with pytest.raises(AttributeError):
        job.colour = "red"
    assert weakref.ref(job)() is job


@pytest.mark.parametrize("name", [None, "a name"])
@pytest.mark.parametrize("policy", [{}, {"max_instances": 3, "next_run_time": None}])
def test_a_scheduler_makes_a_job_as_the_class_does(scheduler, name, policy):
    trigger = DateTrigger()
    given = {"trigger": trigger, "executor": "x", "func": noop, "args": (), "kwargs": {}}
    defaults = {"coalesce": False, "max_instances": 2, "misfire_grace_time": 5}
    made = Job._made(scheduler, "an id", **given, name=name, policy=policy, defaults=defaults)
    named = {} if name is None else {"name": name}
    same = Job(scheduler, "an id", **given, **named, **{**defaults, **policy})
    assert attributes(made) == attributes(same)


def test_ids_that_are_made_up_are_all_different_and_sort_by_the_time_they_were_made(scheduler):
    ids = [Job(scheduler, func=noop, args=(), kwargs={}).id for _ in range(1000)]
    assert all(re.fullmatch("[0-9a-f]{32}", id) for id in ids)
    assert {(uuid.UUID(id).version, uuid.UUID(id).variant) for id in ids} == {(7, uuid.RFC_4122)}
    assert sorted(set(ids)) == ids


def test_ids_that_are_made_up_differ_while_the_clock_stands_still(scheduler):
    with time_machine.travel(NEW_YEAR, tick=False):
        ids = [Job(scheduler, func=noop, args=(), kwargs={}).id for _ in range(1000)]
    assert sorted(set(ids)) == ids


# What a job lets its scheduler do


@pytest.mark.parametrize(
    ("act", "call"),
    [
        (lambda job: job.modify(name="new"), ("modify_job", ("backup", "main"), {"name": "new"})),
        (
            lambda job: job.reschedule("interval", hours=1),
            ("reschedule_job", ("backup", "main", "interval"), {"hours": 1}),
        ),
        (
            lambda job: job.reschedule(trigger="date"),
            ("reschedule_job", ("backup", "main", "date"), {}),
        ),
        (lambda job: job.pause(), ("pause_job", ("backup", "main"), {})),
        (lambda job: job.resume(), ("resume_job", ("backup", "main"), {})),
    ],
)
def test_a_job_asks_its_scheduler_to_change_it_and_returns_itself(job, scheduler, act, call):
    job._jobstore_alias = "main"
    assert act(job) is job
    assert scheduler.calls == [call]


def test_a_job_asks_its_scheduler_to_remove_it(job, scheduler):
    assert job.remove() is None
    assert scheduler.calls == [("remove_job", ("backup", None), {})]


# Changes


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"id": 5}, TypeError, "id must be a nonempty string"),
        ({"id": None}, TypeError, "id must be a nonempty string"),
        ({"id": "other"}, ValueError, "The job ID may not be changed"),
        ({"id": "backup"}, ValueError, "The job ID may not be changed"),
        ({"func": None}, TypeError, "func must be a callable or a textual reference to one"),
        ({"func": 5}, TypeError, "func must be a callable or a textual reference to one"),
        ({"func": "sys:path"}, TypeError, "func must be a callable or a textual reference to one"),
        ({"func": "nowhere"}, ValueError, "Invalid reference"),
        (
            {"func": "no.such.module:x"},
            LookupError,
            "Error resolving reference no.such.module:x: could not import module",
        ),
        (
            {"func": "sys:nothing"},
            LookupError,
            "Error resolving reference sys:nothing: error looking up object",
        ),
        ({"args": "abc"}, TypeError, "args must be a non-string iterable"),
        ({"args": 5}, TypeError, "args must be a non-string iterable"),
        ({"args": None}, TypeError, "args must be a non-string iterable"),
        ({"kwargs": None}, TypeError, "kwargs must be a dict-like object"),
        ({"kwargs": [("a", 1)]}, TypeError, "kwargs must be a dict-like object"),
        ({"name": ""}, TypeError, "name must be a nonempty string"),
        ({"name": None}, TypeError, "name must be a nonempty string"),
        ({"name": 5}, TypeError, "name must be a nonempty string"),
        ({"func": echo, "args": [1], "name": None}, TypeError, "name must be a nonempty string"),
        *(
            (
                {"misfire_grace_time": value},
                TypeError,
                "misfire_grace_time must be either None or a positive integer",
            )
            for value in (0, -1, False, 1.5, "3")
        ),
        *(
            ({"max_instances": value}, TypeError, "max_instances must be a positive integer")
            for value in (0, -1, False, 1.0, "2", None)
        ),
        ({"trigger": "date"}, TypeError, "Expected a trigger instance, got str instead"),
        ({"trigger": None}, TypeError, "Expected a trigger instance, got NoneType instead"),
        ({"trigger": DateTrigger}, TypeError, "Expected a trigger instance, got ABCMeta instead"),
        ({"executor": 5}, TypeError, "executor must be a string"),
        ({"executor": None}, TypeError, "executor must be a string"),
        ({"next_run_time": 5}, TypeError, "Unsupported type for next_run_time: int"),
        ({"next_run_time": "soon"}, ValueError, "Invalid date string"),
        (
            {"z": 1, "a": 2, "name": "x", "func_ref": 3},
            AttributeError,
            "The following are not modifiable attributes of Job: z, a, func_ref",
        ),
        *(
            (
                {name: 1},
                AttributeError,
                f"The following are not modifiable attributes of Job: {name}",
            )
            for name in ("func_ref", "pending", "_scheduler", "_jobstore_alias", "version")
        ),
    ],
)
def test_a_change_that_is_refused_says_why_and_changes_nothing(job, changes, error, text):
    before = attributes(job)
    with pytest.raises(error) as caught:
        job._modify(**{"executor": "other", **changes})
    assert caught.value.args == (text,)
    assert attributes(job) == before


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"args": [1]}, "The list of positional arguments is longer"),
        ({"kwargs": {"c": 1}}, "The target callable does not accept the following keyword"),
        ({"func": echo}, "The following arguments have not been supplied: a"),
        (
            {"func": echo, "args": [1], "kwargs": {"a": 1}},
            "The following arguments are supplied in both args and kwargs: a",
        ),
    ],
)
def test_callable_and_arguments_are_checked_as_they_will_be_together(job, changes, text):
    before = attributes(job)
    with pytest.raises(ValueError, match=text):
        job._modify(name="new", **changes)
    assert attributes(job) == before


def test_what_is_wrong_is_reported_in_a_fixed_order(job):
    wrong = {
        "unheard": 1,
        "next_run_time": 5,
        "executor": 5,
        "trigger": 5,
        "max_instances": 0,
        "misfire_grace_time": 0,
        "name": "",
        "kwargs": 5,
        "args": 5,
        "func": 5,
        "id": 5,
    }
    reported = []
    while wrong:
        with pytest.raises((TypeError, AttributeError)) as caught:
            job._modify(**wrong)
        culprit = next(
            name
            for name in wrong
            if name in str(caught.value)
            or (name == "trigger" and "a trigger" in str(caught.value))
        )
        reported.append(culprit)
        del wrong[culprit]
    assert reported == [
        "id",
        "func",
        "args",
        "kwargs",
        "name",
        "misfire_grace_time",
        "max_instances",
        "trigger",
        "executor",
        "next_run_time",
        "unheard",
    ]


@pytest.mark.parametrize(
    ("name", "given", "stored"),
    [
        ("misfire_grace_time", None, None),
        ("misfire_grace_time", True, True),
        ("misfire_grace_time", 30, 30),
        ("coalesce", "false", True),
        ("coalesce", None, False),
        ("coalesce", 1, True),
        ("max_instances", True, True),
        ("max_instances", 7, 7),
        ("executor", "", ""),
        ("name", "new", "new"),
        ("args", [], []),
        ("args", set(), set()),
        ("args", b"", b""),
        ("kwargs", types.MappingProxyType({}), types.MappingProxyType({})),
        ("next_run_time", None, None),
        ("next_run_time", NEW_YEAR, NEW_YEAR),
        ("next_run_time", datetime(2030, 6, 1, 5), datetime(2030, 6, 1, 5, tzinfo=HELSINKI)),
        ("next_run_time", date(2030, 6, 1), datetime(2030, 6, 1, tzinfo=HELSINKI)),
        ("next_run_time", "2030-6-1 5:06:07", datetime(2030, 6, 1, 5, 6, 7, tzinfo=HELSINKI)),
    ],
)
def test_a_change_that_is_accepted_changes_one_attribute_alone(job, name, given, stored):
    before = attributes(job)
    job._modify(**{name: given})
    assert getattr(job, name) == stored
    assert type(getattr(job, name)) is type(stored)
    assert attributes(job) == {**before, name: stored}


def test_arguments_are_kept_as_they_were_given():
    args, kwargs = [1], {"b": 3}
    job = make_job(func=echo, args=args, kwargs=kwargs)
    assert job.args is args
    assert job.kwargs is kwargs


def test_jobs_without_keyword_arguments_share_no_dict_that_somebody_may_fill(scheduler):
    one, other = (
        Job._made(scheduler, None, DateTrigger(), "x", echo, (1, 2), None, None, {}, {})
        for _ in range(2)
    )
    one.kwargs["c"] = 3
    assert (one.kwargs, other.kwargs) == ({"c": 3}, {})


def test_arguments_that_can_be_read_only_once_are_read_and_kept():
    assert make_job(func=echo, args=(number for number in (1, 2))).args == (1, 2)


def test_approving_changes_nothing_and_applying_needs_no_scheduler(job):
    before = attributes(job)
    approved = job._approve({"func": echo, "args": [1], "max_instances": 3})
    assert attributes(job) == before
    assert approved == {
        "func": echo,
        "func_ref": "lone_jobs:echo",
        "args": [1],
        "max_instances": 3,
    }

    unlinked = Job.__new__(Job)
    unlinked._apply(approved)
    assert attributes(unlinked) == approved


def test_changing_the_callable_leaves_the_name_alone(job):
    assert job.name == "noop"
    job._modify(func=greeter.greet)
    assert (job.func(), job.name) == ((), "noop")


@pytest.mark.parametrize("given", [{}, {"name": None}])
def test_a_job_without_a_name_takes_that_of_its_callable(given):
    assert make_job(func=greeter.greet, **given).name == "Greeter.greet"
    assert make_job(func="lone_jobs:greeter", **given).name == "Greeter"


def test_a_name_that_is_given_counts():
    assert make_job(name="mine").name == "mine"


# Due times


def test_due_times_are_those_from_the_next_run_until_now():
    job = make_job(trigger=IntervalTrigger(seconds=60, timezone=UTC))
    minute = 60 * SECOND
    assert job._get_run_times(NEW_YEAR - SECOND) == []
    assert job._get_run_times(NEW_YEAR) == [NEW_YEAR]
    due = [NEW_YEAR, NEW_YEAR + minute, NEW_YEAR + 2 * minute]
    assert job._get_run_times(NEW_YEAR + 2 * minute) == due
    assert job._get_run_times((NEW_YEAR + 2.5 * minute).astimezone(HELSINKI)) == due


def test_due_times_end_with_the_trigger():
    job = make_job(trigger=EverySecond(ends=NEW_YEAR + SECOND))
    assert job._get_run_times(NEW_YEAR + 9 * SECOND) == [NEW_YEAR, NEW_YEAR + SECOND]


def test_a_paused_job_has_no_due_times():
    assert make_job(next_run_time=None)._get_run_times(NEW_YEAR) == []


def test_due_times_end_where_a_trigger_does_not_advance():
    for coalesce in (True, False):
        job = make_job(trigger=Stuck(), coalesce=coalesce)
        assert job._get_run_times(NEW_YEAR + SECOND) == [NEW_YEAR]


def test_of_many_due_times_only_the_last_counts_if_the_job_coalesces():
    trigger = IntervalTrigger(seconds=1, timezone=UTC)
    year_later = NEW_YEAR.replace(year=2031)
    times = make_job(trigger=trigger)._get_run_times(year_later)
    first = [NEW_YEAR + number * SECOND for number in range(MAX_COALESCED)]
    assert times == [*first, year_later]
    exactly_as_many = make_job(trigger=trigger)._get_run_times(first[-1])
    assert exactly_as_many == first


def test_all_due_times_are_listed_if_the_job_does_not_coalesce():
    many = 3 * MAX_COALESCED
    job = make_job(coalesce=False)
    times = job._get_run_times(NEW_YEAR + (many - 1) * SECOND)
    assert times == [NEW_YEAR + number * SECOND for number in range(many)]


def test_due_times_in_the_hour_that_a_clock_change_repeats_are_found_once_each():
    # In Helsinki, 03:00 to 04:00 comes twice on 27 October 2030.
    trigger = CronTrigger(minute="30", timezone=HELSINKI)
    first = datetime(2030, 10, 27, 3, 30, tzinfo=HELSINKI)
    second = first.replace(fold=1)
    job = make_job(trigger=trigger, next_run_time=first)
    assert job._get_run_times(first) == [first]
    both = job._get_run_times(second)
    assert [moment.astimezone(UTC).hour for moment in both] == [0, 1]
    job._modify(next_run_time=second)
    assert job._get_run_times(first) == []


# Equality and text


def test_jobs_are_equal_if_their_ids_are():
    assert make_job() == make_job(func=greeter.greet)
    assert make_job() != make_job(id="other")
    assert make_job() != "backup"
    assert make_job().__eq__("backup") is NotImplemented


def test_a_job_cannot_be_hashed(job):
    with pytest.raises(TypeError, match="unhashable"):
        hash(job)


def test_a_job_says_what_it_is_and_when_it_runs_next():
    trigger = DateTrigger(NEW_YEAR)
    job = make_job(trigger=trigger, next_run_time=NEW_YEAR.astimezone(HELSINKI))
    assert repr(job) == "<Job (id=backup name=noop)>"
    head = "noop (trigger: date[2030-01-01 00:00:00 UTC], "
    assert str(job) == f"{head}next run at: 2030-01-01 02:00:00 EET)"
    job.next_run_time = None
    assert str(job) == f"{head}paused)"
    del job.next_run_time
    assert str(job) == f"{head}pending)"
