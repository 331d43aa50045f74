"""`Job`: attributes, texts, equality, validation of changes, serialized state."""

from __future__ import annotations

import pickle
import weakref
from datetime import date, datetime
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from contract_kit import FAR, UTC, Butler, Greeter, TurnScheduler, add, echo, greeter, noop

from apscheduler.job import Job
from apscheduler.triggers.date import DateTrigger

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def scheduler():
    return TurnScheduler(timezone=BERLIN)


@pytest.fixture
def job(scheduler):
    return Job(
        scheduler,
        id="the id",
        func=echo,
        args=(1,),
        kwargs={"b": 2},
        trigger=DateTrigger(FAR),
        executor="default",
        name="the name",
        misfire_grace_time=5,
        coalesce=False,
        max_instances=2,
        next_run_time=None,
    )


def test_a_job_has_no_dict_but_may_be_referred_to_weakly(job):
    assert not hasattr(job, "__dict__")
    assert weakref.ref(job)() is job
    with pytest.raises(AttributeError):
        job.colour = "red"


def test_the_attributes_of_a_job(job, scheduler):
    assert (job.id, job.name, job.executor) == ("the id", "the name", "default")
    assert (job.func, job.func_ref) == (echo, "contract_kit:echo")
    assert (job.args, job.kwargs) == ((1,), {"b": 2})
    assert (job.misfire_grace_time, job.coalesce, job.max_instances) == (5, False, 2)
    assert job.trigger.run_date == FAR
    assert job.next_run_time is None
    assert (job._scheduler, job._jobstore_alias) == (scheduler, None)


def test_a_job_is_pending_until_a_store_has_it(job):
    assert job.pending is True
    job._jobstore_alias = "default"
    assert job.pending is False


def test_a_new_job_is_validated_by_modify_with_an_id_made_up(scheduler, monkeypatch):
    seen = []
    monkeypatch.setattr(Job, "_modify", lambda self, **changes: seen.append(changes))
    Job(scheduler, name="x")
    Job(scheduler, id="given")
    assert len(seen[0].pop("id")) == 32
    assert seen == [{"name": "x"}, {"id": "given"}]


def test_jobs_are_equal_by_id(job, scheduler):
    same = Job(scheduler, id="the id", func=noop, args=(), kwargs={})
    other = Job(scheduler, id="other", func=noop, args=(), kwargs={})
    assert job == same
    assert job != other
    assert job != "the id"
    assert Job.__eq__(job, "the id") is NotImplemented


def test_a_job_is_unhashable(job):
    assert Job.__hash__ is None
    with pytest.raises(TypeError, match="unhashable"):
        hash(job)


def test_the_texts_of_a_job(job):
    assert repr(job) == "<Job (id=the id name=the name)>"
    trigger = "date[2099-09-09 00:00:00 UTC]"
    assert str(job) == f"the name (trigger: {trigger}, paused)"
    job.next_run_time = datetime(2011, 4, 3, 18, 40, tzinfo=BERLIN)
    assert str(job) == f"the name (trigger: {trigger}, next run at: 2011-04-03 18:40:00 CEST)"
    del job.next_run_time
    assert str(job) == f"the name (trigger: {trigger}, pending)"


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"id": "new"}, ValueError, "The job ID may not be changed"),
        ({"func": 5}, TypeError, "func must be a callable or a textual reference to one"),
        ({"args": "abc"}, TypeError, "args must be a non-string iterable"),
        ({"args": 5}, TypeError, "args must be a non-string iterable"),
        ({"kwargs": 5}, TypeError, "kwargs must be a dict-like object"),
        ({"kwargs": [("a", 1)]}, TypeError, "kwargs must be a dict-like object"),
        ({"name": ""}, TypeError, "name must be a nonempty string"),
        ({"name": None}, TypeError, "name must be a nonempty string"),
        ({"name": 5}, TypeError, "name must be a nonempty string"),
        *(
            (
                {"misfire_grace_time": value},
                TypeError,
                "misfire_grace_time must be either None or a positive integer",
            )
            for value in (0, -1, 1.5, "5")
        ),
        *(
            ({"max_instances": value}, TypeError, "max_instances must be a positive integer")
            for value in (0, -1, 1.5, "5", None)
        ),
        ({"trigger": "date"}, TypeError, "Expected a trigger instance, got str instead"),
        ({"executor": 5}, TypeError, "executor must be a string"),
        ({"executor": None}, TypeError, "executor must be a string"),
        ({"next_run_time": 5}, TypeError, "Unsupported type for next_run_time: int"),
        ({"next_run_time": "soon"}, ValueError, "Invalid date string"),
        (
            {"b": 1, "a": 2},
            AttributeError,
            "The following are not modifiable attributes of Job: ",
        ),
        ({"func_ref": "x:y"}, AttributeError, "The following are not modifiable attributes"),
    ],
)
def test_a_change_that_is_refused_says_why_and_changes_nothing(job, changes, error, text):
    before = job.__getstate__()
    with pytest.raises(error) as caught:
        job._modify(coalesce=True, **changes)
    assert str(caught.value).startswith(text)
    assert job.__getstate__() == before


def test_unknown_attributes_are_listed(job):
    with pytest.raises(AttributeError) as caught:
        job._modify(b=1, a=2)
    names = str(caught.value).removeprefix("The following are not modifiable attributes of Job: ")
    assert sorted(names.split(", ")) == ["a", "b"]


@pytest.mark.parametrize("given", [5, b"x", ["a"]])
def test_an_id_must_be_a_nonempty_string(scheduler, given):
    with pytest.raises(TypeError) as caught:
        Job(scheduler, id=given, func=noop, args=(), kwargs={})
    assert caught.value.args == ("id must be a nonempty string",)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"func": add, "args": [], "kwargs": {}},
            "The following arguments have not been supplied: a",
        ),
        (
            {"func": noop, "args": [1], "kwargs": {}},
            "The list of positional arguments is longer than the target callable can handle "
            "(allowed: 0, given in args: 1)",
        ),
        (
            {"func": add, "args": [1], "kwargs": {"c": 1}},
            "The target callable does not accept the following keyword arguments: c",
        ),
        (
            {"func": add, "args": [1], "kwargs": {"a": 1}},
            "The following arguments are supplied in both args and kwargs: a",
        ),
        ({"func": noop}, "The list of positional arguments is longer"),
    ],
)
def test_arguments_must_suit_the_callable_together(job, changes, text):
    before = job.__getstate__()
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the text is compared below)
        job._modify(**changes)
    assert str(caught.value).startswith(text)
    assert job.__getstate__() == before


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("misfire_grace_time", None, None),
        ("misfire_grace_time", 7, 7),
        ("misfire_grace_time", True, True),
        ("max_instances", True, True),
        ("coalesce", "false", True),
        ("coalesce", 0, False),
        ("coalesce", None, False),
        ("executor", "", ""),
        ("args", [3], [3]),
        ("kwargs", {"z": 1}, {"z": 1}),
        ("next_run_time", None, None),
        ("next_run_time", FAR, FAR),
        ("next_run_time", date(2099, 1, 2), datetime(2099, 1, 2, tzinfo=BERLIN)),
        ("next_run_time", datetime(2099, 7, 1, 5), datetime(2099, 7, 1, 5, tzinfo=BERLIN)),
        ("next_run_time", "2099-1-2 03:04:05", datetime(2099, 1, 2, 3, 4, 5, tzinfo=BERLIN)),
        ("next_run_time", "2099-01-02T03:04:05Z", datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_a_change_that_is_accepted_is_stored(job, name, value, stored):
    job._modify(**{name: value})
    assert getattr(job, name) == stored
    assert type(getattr(job, name)) is type(stored)


def test_changing_the_callable_leaves_the_name_alone(job):
    job._modify(func="contract_kit:greeter.greet", args=(), kwargs={})
    assert (job.name, job.func_ref) == ("the name", "contract_kit:greeter.greet")
    job._modify(func=lambda: None)
    assert (job.name, job.func_ref) == ("the name", None)


@pytest.mark.parametrize("name", [None, "absent"])
def test_a_job_without_a_name_takes_that_of_its_callable(scheduler, name):
    given = {} if name == "absent" else {"name": name}
    assert Job(scheduler, func=greeter.greet, args=(), kwargs={}, **given).name == "Greeter.greet"


def test_the_state_of_a_job_is_a_dict_of_version_1_in_a_fixed_order(job):
    assert list(job.__getstate__().items()) == [
        ("version", 1),
        ("id", "the id"),
        ("func", "contract_kit:echo"),
        ("trigger", job.trigger),
        ("executor", "default"),
        ("args", (1,)),
        ("kwargs", {"b": 2}),
        ("name", "the name"),
        ("misfire_grace_time", 5),
        ("coalesce", False),
        ("max_instances", 2),
        ("next_run_time", None),
    ]


def state_of(scheduler, func, args=()):
    job = Job(
        scheduler,
        func=func,
        args=args,
        kwargs={},
        trigger=DateTrigger(FAR),
        executor="default",
        misfire_grace_time=1,
        coalesce=True,
        max_instances=1,
        next_run_time=FAR,
    )
    return job.__getstate__()


def test_a_bound_method_is_stored_with_its_instance_as_first_argument(scheduler):
    mine = Greeter("me")
    state = state_of(scheduler, mine.greet)
    assert (state["func"], state["args"]) == ("contract_kit:Greeter.greet", (mine,))


@pytest.mark.parametrize(
    ("func", "reference"),
    [
        ("contract_kit:greeter.greet", "contract_kit:greeter.greet"),
        (Greeter.shout, "contract_kit:Greeter.shout"),
        (Greeter.hum, "contract_kit:Greeter.hum"),
        (Butler.shout, "contract_kit:Butler.shout"),
        (Greeter, "contract_kit:Greeter"),
    ],
)
def test_other_callables_are_stored_without_an_extra_argument(scheduler, func, reference):
    state = state_of(scheduler, func)
    assert (state["func"], state["args"]) == (reference, ())


@pytest.mark.parametrize("func", [lambda: None, partial(noop)])
def test_a_job_without_a_reference_cannot_be_serialized(scheduler, func):
    with pytest.raises(ValueError, match="could not be determined") as caught:
        state_of(scheduler, func)
    assert str(caught.value).startswith(
        "This Job cannot be serialized since the reference to its callable ("
    )
    assert repr(func) in str(caught.value)


@pytest.mark.differs("a reference must lead back to the very same object")
def test_a_callable_object_has_no_reference(scheduler):
    assert Job(scheduler, func=greeter, args=(), kwargs={}).func_ref is None


def test_a_job_is_built_from_its_state_without_init(job):
    copy = Job.__new__(Job)
    copy.__setstate__(job.__getstate__())
    assert not hasattr(copy, "_scheduler")
    assert not hasattr(copy, "_jobstore_alias")
    assert copy.__getstate__() == job.__getstate__()
    assert (copy.func, copy.func_ref) == (echo, "contract_kit:echo")


def test_a_state_without_version_is_one_of_version_1_and_more_keys_are_ignored(job):
    state = job.__getstate__()
    del state["version"]
    copy = Job.__new__(Job)
    copy.__setstate__({**state, "scheduler": 1, "jobstore": 2, "extra": 3})
    assert copy.__getstate__() == job.__getstate__()


def test_a_state_of_a_later_version_is_refused(job):
    with pytest.raises(
        ValueError, match="Job has version 9999, but only version 1 can be handled"
    ):
        Job.__new__(Job).__setstate__({**job.__getstate__(), "version": 9999})


def test_a_state_is_refused_whose_callable_is_gone(job):
    with pytest.raises(LookupError):
        Job.__new__(Job).__setstate__({**job.__getstate__(), "func": "contract_kit:gone"})


@pytest.mark.parametrize(
    "key", ["id", "func", "trigger", "args", "kwargs", "name", "next_run_time", "coalesce"]
)
def test_a_state_that_lacks_a_key_is_a_key_error(job, key):
    state = job.__getstate__()
    del state[key]
    with pytest.raises(KeyError, match=key):
        Job.__new__(Job).__setstate__(state)


def test_a_job_goes_through_pickle(job):
    copy = pickle.loads(pickle.dumps(job))
    assert copy == job
    assert (copy.func, copy.args, copy.trigger.run_date) == (echo, (1,), FAR)
    assert not hasattr(copy, "_scheduler")


def run_times(job, now):
    return [moment.isoformat() for moment in job._get_run_times(now)]


def test_run_times_are_those_from_the_next_run_until_now(scheduler):
    scheduler.start(paused=True)
    start = datetime(2011, 4, 3, 18, 40, tzinfo=BERLIN)
    job = scheduler.add_job(noop, "interval", minutes=10, start_date=start, next_run_time=start)
    before, at, later = (start.replace(minute=minute) for minute in (39, 40, 59))
    assert job._get_run_times(before) == []
    assert job._get_run_times(at) == [start]
    assert job._get_run_times(later) == [start, start.replace(minute=50)]
    assert job._get_run_times(later.astimezone(UTC)) == [start, start.replace(minute=50)]


def test_run_times_of_a_paused_job_are_none(scheduler):
    scheduler.start(paused=True)
    job = scheduler.add_job(noop, "interval", minutes=10, next_run_time=None)
    assert job._get_run_times(FAR) == []
