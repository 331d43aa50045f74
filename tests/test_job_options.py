"""Options of a job that 3.x does not know."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar

import pytest

from apscheduler.job import Job
from apscheduler.testing import ManualScheduler
from apscheduler.triggers.base import BaseTrigger
from job_kit import at, make_job, nothing

NO_BOOLS = [None, 1, 0, "yes", "False", [True]]


@pytest.fixture(params=["stopped", "running"])
def scheduler(request: pytest.FixtureRequest) -> Iterator[ManualScheduler]:
    scheduler = ManualScheduler(timezone="UTC")
    if request.param == "running":
        scheduler.start()
    yield scheduler
    if scheduler.running:
        scheduler.shutdown()


@pytest.fixture
def running() -> Iterator[ManualScheduler]:
    scheduler = ManualScheduler(timezone="UTC")
    scheduler.start()
    yield scheduler
    scheduler.shutdown()


class Recovering(BaseTrigger):
    """A trigger whose constructor has a parameter of the name of an option."""

    def __init__(self, recover: Any = "nothing", timezone: Any = None) -> None:
        self.recover = recover

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        return at(1e9)


# -- recover ------------------------------------------------------------------------------------


def test_a_job_is_not_recovered_unless_it_says_so(scheduler: ManualScheduler) -> None:
    assert scheduler.add_job(nothing, "interval", hours=1).recover is False
    assert scheduler.add_job(nothing, "interval", hours=1, recover=False).recover is False
    assert scheduler.add_job(nothing, "interval", hours=1, recover=True).recover is True


def test_the_decorator_takes_it_too(scheduler: ManualScheduler) -> None:
    scheduler.scheduled_job("interval", hours=1, id="j", recover=True)(nothing)
    job = scheduler.get_job("j")
    assert job is not None
    assert job.recover


def test_it_can_be_changed(scheduler: ManualScheduler) -> None:
    job = scheduler.add_job(nothing, "interval", hours=1, id="j")
    scheduler.modify_job("j", recover=True)
    assert job.recover
    job.modify(recover=False, name="other")
    assert (job.recover, job.name) == (False, "other")


def test_it_goes_through_the_start(scheduler: ManualScheduler) -> None:
    scheduler.add_job(nothing, "interval", hours=1, id="j", recover=True)
    if not scheduler.running:
        scheduler.start()
    job = scheduler.get_job("j")
    assert job is not None
    assert job.recover
    assert job._options == {"recover": True}


@pytest.mark.parametrize("value", NO_BOOLS)
def test_anything_but_a_bool_is_refused(scheduler: ManualScheduler, value: Any) -> None:
    with pytest.raises(TypeError, match="recover must be True or False, got "):
        scheduler.add_job(nothing, "interval", hours=1, recover=value)
    assert scheduler.get_jobs() == []

    job = scheduler.add_job(nothing, "interval", hours=1, id="j", recover=True)
    with pytest.raises(TypeError, match="recover must be True or False, got "):
        job.modify(name="other", recover=value)
    assert (job.recover, job.name) == (True, "nothing")


def test_a_job_that_takes_the_place_of_another_brings_its_own(running: ManualScheduler) -> None:
    running.add_job(nothing, "interval", hours=1, id="j", recover=True)
    running.add_job(nothing, "interval", hours=1, id="j", replace_existing=True)
    job = running.get_job("j")
    assert job is not None
    assert not job.recover


# -- a trigger with a parameter of that name ----------------------------------------------------


class Kinds(ManualScheduler):
    _trigger_classes: ClassVar[dict[str, type[BaseTrigger]]] = {
        **ManualScheduler._trigger_classes,
        "recovering": Recovering,
    }


def test_a_trigger_that_has_a_parameter_of_that_name_gets_it_as_in_3_11() -> None:
    job = Kinds(timezone="UTC").add_job(nothing, "recovering", recover="often")
    assert isinstance(job.trigger, Recovering)
    assert job.trigger.recover == "often"
    assert not job.recover


def test_a_trigger_that_is_made_already_leaves_it_to_the_job() -> None:
    job = Kinds(timezone="UTC").add_job(nothing, Recovering(), recover=True)
    assert isinstance(job.trigger, Recovering)
    assert job.trigger.recover == "nothing"
    assert job.recover


# -- beside the state of 3.x --------------------------------------------------------------------


def test_the_state_is_exactly_that_of_3_11() -> None:
    plain, job = make_job(), make_job()
    job._modify(recover=True)
    state = job.__getstate__()
    assert list(state) == list(plain.__getstate__())
    assert pickle.dumps(state) == pickle.dumps({**plain.__getstate__(), "trigger": job.trigger})

    restored = Job.__new__(Job)
    restored._options = {"recover": True}
    restored.__setstate__(state)
    assert restored._options is None
    assert not restored.recover


def test_a_job_without_options_has_nothing_for_them() -> None:
    job = make_job()
    assert job._options is None
    job._modify(recover=True)
    assert job._options == {"recover": True}
    job._modify(recover=False)
    assert job._options is None


def test_options_of_a_later_version_are_left_alone() -> None:
    job = make_job()
    job._options = {"later": 1}
    job._modify(recover=True)
    assert job._options == {"later": 1, "recover": True}
    job._modify(recover=False)
    assert job._options == {"later": 1}


def test_a_twin_has_the_same_options_and_changes_alone() -> None:
    job = make_job()
    job._modify(recover=True)
    twin = job._twin()
    twin._modify(recover=False)
    assert (job.recover, twin.recover) == (True, False)


# -- documents ----------------------------------------------------------------------------------


def exported(scheduler: ManualScheduler) -> dict[str, Any]:
    file = io.StringIO()
    scheduler.export_jobs(file)
    document: dict[str, Any] = json.loads(file.getvalue())
    return document


def test_options_are_exported_and_imported(running: ManualScheduler) -> None:
    running.add_job(nothing, "interval", hours=1, id="a", recover=True)
    running.add_job(nothing, "interval", hours=1, id="b")
    document = exported(running)
    assert {job["id"]: job.get("options") for job in document["jobs"]} == {
        "a": {"recover": True},
        "b": None,
    }
    running.remove_all_jobs()
    running.import_jobs(io.StringIO(json.dumps(document)))
    assert {job.id: job.recover for job in running.get_jobs()} == {"a": True, "b": False}


def test_a_document_of_3_11_has_no_options(running: ManualScheduler) -> None:
    running.add_job(nothing, "interval", hours=1, id="a", recover=True)
    document = exported(running)
    del document["jobs"][0]["options"]
    running.remove_all_jobs()
    running.import_jobs(io.StringIO(json.dumps(document)))
    (job,) = running.get_jobs()
    assert not job.recover


def test_a_document_with_an_option_that_makes_no_sense_is_refused(
    running: ManualScheduler,
) -> None:
    running.add_job(nothing, "interval", hours=1, id="a", recover=True)
    document = exported(running)
    document["jobs"][0]["options"]["recover"] = "yes"
    running.remove_all_jobs()
    with pytest.raises(TypeError, match="recover must be True or False, got 'yes'"):
        running.import_jobs(io.StringIO(json.dumps(document)))
    assert running.get_jobs() == []
