"""How a job is stored: the text that leads to its callable, and its state."""

from __future__ import annotations

import base64
import copy
import pickle
import sys
import types
from datetime import datetime
from functools import partial, wraps

import pytest

import lone_jobs
from apscheduler.job import Job
from apscheduler.triggers.date import DateTrigger
from lone_jobs import (
    HELSINKI,
    NEW_YEAR,
    Butler,
    EverySecond,
    Greeter,
    attributes,
    echo,
    greeter,
    local_greeter,
    make_job,
    noop,
)

KIT = lone_jobs.__name__


@pytest.fixture
def job():
    return make_job()


# References


@pytest.mark.parametrize(
    ("func", "path"),
    [
        (noop, "noop"),
        (Greeter, "Greeter"),
        (greeter.greet, "Greeter.greet"),
        (Butler().greet, "Butler.greet"),
        (Greeter.shout, "Greeter.shout"),
        (Butler.shout, "Butler.shout"),
        (Greeter.hum, "Greeter.hum"),
        (greeter.hum, "Greeter.hum"),
    ],
)
def test_a_callable_that_is_found_by_its_name_has_a_reference(func, path):
    assert make_job(func=func).func_ref == f"{KIT}:{path}"


def test_a_builtin_has_a_reference():
    assert make_job(func=print).func_ref == "builtins:print"


def shadowed():
    pass


first_of_that_name = shadowed


def shadowed():
    pass


def misnamed():
    pass


misnamed.__qualname__ = "Elsewhere.nothing"


class Elsewhere:
    def method(self):
        pass

    under_another_name = method
    del method


@pytest.mark.parametrize(
    "func",
    [
        lambda: None,
        partial(noop),
        greeter,
        [].copy,
        "abc".upper,
        "abc".__len__,
        local_greeter().greet,
        first_of_that_name,
        misnamed,
        Elsewhere().under_another_name,
        types.MethodType(lambda self: None, greeter),
    ],
)
def test_a_callable_that_its_name_does_not_lead_back_to_has_no_reference(func):
    assert make_job(func=func).func_ref is None


def test_a_function_of_a_module_that_cannot_be_found_has_no_reference():
    module = types.ModuleType("made_up")
    exec("def f(): pass", vars(module))
    assert make_job(func=module.f).func_ref is None


def test_a_function_that_is_just_being_decorated_has_a_reference(monkeypatch):
    module = types.ModuleType("being_imported")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    seen = []

    def scheduled(func):
        seen.append(make_job(func=func).func_ref)
        return func

    def wrapped(func):
        return wraps(func)(lambda: func())

    vars(module).update(scheduled=scheduled, wrapped=wrapped)
    exec("@scheduled\n@wrapped\ndef f(): pass\n\n@scheduled\ndef f(): pass", vars(module))
    # The second takes the name of the first, which leads to the first as yet.
    assert seen == ["being_imported:f", None]


def test_a_reference_that_was_given_is_kept_to_the_letter():
    reference = f"{KIT}:greeter.greet"
    job = make_job(func=reference)
    assert job.func == greeter.greet
    assert job.func_ref == reference


# What is stored

# Pickled by 3.11.3, with protocol 4.
ROW_OF_3_11 = """
gASV0QEAAAAAAAB9lCiMB3ZlcnNpb26USwGMAmlklIwGZy1kYXRllIwEZnVuY5SMDmJ1aWx0aW5zOnByaW50lIwHdHJpZ2dl
cpSMGWFwc2NoZWR1bGVyLnRyaWdnZXJzLmRhdGWUjAtEYXRlVHJpZ2dlcpSTlCmBlH2UKGgBSwGMCHJ1bl9kYXRllIwIZGF0
ZXRpbWWUjAhkYXRldGltZZSTlEMKB+4BAgMEBQAABpRoDYwIdGltZXpvbmWUk5RoDYwJdGltZWRlbHRhlJOUSwBLAEsAh5RS
lIWUUpSGlFKUdWKMCGV4ZWN1dG9ylIwHZGVmYXVsdJSMBGFyZ3OUjAF4lEsBhpSMBmt3YXJnc5R9lIwDZW5klIwAlHOMBG5h
bWWUjAVwcmludJSMEm1pc2ZpcmVfZ3JhY2VfdGltZZRLHowIY29hbGVzY2WUiYwNbWF4X2luc3RhbmNlc5RLAowNbmV4dF9y
dW5fdGltZZRoD0MKB+4BAQAAAAAAAJSMCGJ1aWx0aW5zlIwHZ2V0YXR0cpSTlIwIem9uZWluZm+UjAhab25lSW5mb5STlIwJ
X3VucGlja2xllIaUUpSMD0V1cm9wZS9IZWxzaW5raZRLAYaUUpSGlFKUdS4=
"""


def restored(state):
    job = Job.__new__(Job)
    job.__setstate__(state)
    return job


def test_the_state_of_a_job_has_fixed_keys_in_a_fixed_order():
    trigger = EverySecond()
    job = make_job(func=echo, args=[1], kwargs={"b": 3}, trigger=trigger, name="mine")
    assert list(job.__getstate__().items()) == [
        ("version", 1),
        ("id", "backup"),
        ("func", f"{KIT}:echo"),
        ("trigger", trigger),
        ("executor", "default"),
        ("args", [1]),
        ("kwargs", {"b": 3}),
        ("name", "mine"),
        ("misfire_grace_time", 1),
        ("coalesce", True),
        ("max_instances", 1),
        ("next_run_time", NEW_YEAR),
    ]


def test_a_job_restored_from_its_state_is_the_same_but_belongs_to_nobody():
    job = make_job(func=echo, args=[1], name="mine", misfire_grace_time=None, next_run_time=None)
    copied = restored(job.__getstate__())
    linked = attributes(job)
    del linked["_scheduler"], linked["_jobstore_alias"]
    assert attributes(copied) == linked


@pytest.mark.parametrize("again", [lambda job: pickle.loads(pickle.dumps(job)), copy.copy])
def test_a_copy_of_a_job_belongs_to_nobody(again):
    job = make_job(trigger=DateTrigger(NEW_YEAR))
    copied = again(job)
    assert copied == job
    assert copied.func is noop
    assert not hasattr(copied, "_scheduler")
    assert not hasattr(copied, "_jobstore_alias")


@pytest.mark.parametrize("args", [[1], (1,)])
def test_a_method_of_an_instance_is_stored_with_its_instance(args):
    state = make_job(func=greeter.greet, args=args).__getstate__()
    assert state["func"] == f"{KIT}:Greeter.greet"
    assert state["args"] == (greeter, 1)
    job = restored(state)
    assert job.func(*job.args) == (1,)
    assert job.__getstate__()["args"] == (greeter, 1)


@pytest.mark.parametrize(
    "func",
    [
        f"{KIT}:greeter.greet",
        f"{KIT}:of_a_local_class.greet",
        Greeter.shout,
        Greeter.hum,
    ],
)
def test_what_its_reference_leads_to_in_full_is_stored_without_an_instance(func):
    assert make_job(func=func).__getstate__()["args"] == ()


def test_a_job_without_a_reference_cannot_be_stored_and_says_what_to_do():
    func = partial(noop)
    with pytest.raises(ValueError, match="textual reference") as caught:
        make_job(func=func).__getstate__()
    assert str(caught.value).startswith(
        f"This Job cannot be serialized since the reference to its callable ({func!r}) "
        f"could not be determined."
    )


@pytest.mark.parametrize("missing", ["misfire_grace_time", "max_instances", "next_run_time"])
def test_a_pending_job_that_is_not_complete_cannot_be_stored(job, missing):
    delattr(job, missing)
    with pytest.raises(AttributeError, match=missing):
        job.__getstate__()


def test_a_row_of_3_11_is_read_and_written_again_byte_for_byte():
    row = base64.b64decode(ROW_OF_3_11)
    job = restored(pickle.loads(row))
    assert attributes(job) == {
        "_incarnation": "",
        "_options": None,
        "id": "g-date",
        "func": print,
        "func_ref": "builtins:print",
        "trigger": job.trigger,
        "executor": "default",
        "args": ("x", 1),
        "kwargs": {"end": ""},
        "name": "print",
        "misfire_grace_time": 30,
        "coalesce": False,
        "max_instances": 2,
        "next_run_time": datetime(2030, 1, 1, tzinfo=HELSINKI),
    }
    assert job.next_run_time.tzinfo is HELSINKI
    assert str(job.trigger) == "date[2030-01-02 03:04:05 UTC]"
    assert pickle.dumps(job.__getstate__(), 4) == row


def test_a_state_without_version_and_with_more_keys_is_read(job):
    state = {**job.__getstate__(), "scheduler": 1, "jobstore": 2, "extra": 3}
    del state["version"]
    assert restored(state).__getstate__() == job.__getstate__()


def test_a_state_of_a_later_version_is_refused(job):
    with pytest.raises(ValueError, match="Job has version 9999, but only version 1 can be"):
        restored({**job.__getstate__(), "version": 9999})


def test_a_state_whose_callable_is_gone_is_refused(job):
    with pytest.raises(LookupError, match="error looking up object"):
        restored({**job.__getstate__(), "func": f"{KIT}:nothing"})


def test_a_state_that_lacks_a_key_is_refused(job):
    state = job.__getstate__()
    for key in state.keys() - {"version"}:
        with pytest.raises(KeyError, match=key):
            restored({name: value for name, value in state.items() if name != key})
