"""Histories in which something once went wrong, each written out as short as it can be."""

from __future__ import annotations

from datetime import timedelta

import pytest
from history_kit import World
from history_things import Every, at

from apscheduler.runs import RunKind, RunState

ONCE = ("date", {"run_date": at(5)})
EVERY_TEN = ("interval", {"seconds": 10, "start_date": at(10)})


def test_a_batch_that_a_foreign_executor_refuses_leaves_nothing_running() -> None:
    world = World()
    world.pause()
    world.add("a", EVERY_TEN, "foreign", coalesce=False, misfire_grace_time=None)
    world.advance(25)
    world.resume()
    world.refuse()
    world.advance(0)
    world.check()
    assert [run.state for run in world.runs.values()] == [RunState.FAILED] * 2
    world.let_go()


@pytest.mark.parametrize("kind", ["rows", "objects"])
def test_a_slot_whose_claim_is_in_doubt_runs_although_somebody_asks_for_another_run(
    kind: str,
) -> None:
    world = World(kind)
    world.add("a", EVERY_TEN, coalesce=False, max_instances=2)
    world.fail("update_job", after=True)
    world.advance(10)
    world.run_now("a")
    world.advance(5)
    world.observe()
    kinds = sorted(run.kind for run in world.runs.values() if run.scheduled_at == at(10))
    assert kinds == [RunKind.MANUAL, RunKind.SLOT]
    world.let_go()


def test_jobs_that_were_all_removed_tell_when() -> None:
    world = World()
    world.add("a", EVERY_TEN)
    world.add("b", EVERY_TEN)
    world.advance(5)
    world.remove_all()
    for job_id in "ab":
        assert "the job was removed at 2026-03-01 12:00:05" in explained(world, job_id, 10)
    world.let_go()


def test_a_slot_is_not_mistaken_for_a_run_that_was_asked_for_at_its_moment() -> None:
    world = World()
    world.add("a", EVERY_TEN)
    world.advance(10)
    world.run_now("a")
    assert explained(world, "a", 10).startswith("The run of job")
    world.let_go()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("add", "the job was modified at 2026-03-01 12:00:12"),
        ("remove", "the job was removed at 2026-03-01 12:00:12"),
        ("pause_job", "the job was paused at 2026-03-01 12:00:12"),
        ("resume_job", "the job was modified at 2026-03-01 12:00:12"),
        ("modify", "the job was modified at 2026-03-01 12:00:12"),
    ],
)
def test_a_slot_that_was_due_when_its_job_was_changed_names_the_change(
    change: str, told: str
) -> None:
    world = World()
    world.pause()
    world.add("a", EVERY_TEN)
    world.advance(12)
    if change == "add":
        world.add("a", ("interval", {"seconds": 7}))
    elif change == "modify":
        world.modify("a", next_run_time=at(30))
    else:
        getattr(world, change)("a")
    assert told in explained(world, "a", 10)
    world.let_go()


def test_a_slot_that_is_put_off_at_its_very_moment_names_the_change() -> None:
    world = World()
    world.add("a", Every(3))
    world.modify("a", next_run_time=at(3))
    assert "the job was modified at 2026-03-01 12:00:00" in explained(world, "a", 0)
    world.let_go()


def test_a_slot_that_is_due_stays_due_when_an_equal_job_takes_the_place_of_its_job() -> None:
    world = World()
    world.add("a", EVERY_TEN)
    world.pause_job("a")
    world.resume_job("a")
    world.pause()
    world.advance(12)
    world.add("a", EVERY_TEN)
    assert "it is due, and waits for the scheduler" in explained(world, "a", 10)
    world.let_go()


def test_a_job_that_was_added_paused_tells_so_when_another_one_has_taken_its_place() -> None:
    world = World()
    world.add("a", EVERY_TEN, next_run_time=None)
    world.advance(15)
    world.add("a", ("interval", {"seconds": 7}))
    assert "the job was paused at 2026-03-01 12:00:00" in explained(world, "a", 10)
    world.let_go()


@pytest.mark.parametrize("coalesce", [True, False])
def test_no_slot_of_a_long_backlog_is_without_an_answer(coalesce: bool) -> None:
    world = World()
    world.add("a", Every(1), coalesce=coalesce, misfire_grace_time=30)
    world.advance(0)
    world.end()
    world.jump(5000)
    world.advance(0)
    world.check()
    first = 1 if coalesce else 4970
    assert min(run.first_scheduled_at for run in world.runs.values() if not run.ended) == at(first)
    stands_for = explained(world, "a", 4000)
    assert "which stands for at least 1,000 run times since 2026-03-01 12:00:01" in stands_for
    world.let_go()


def test_a_slot_far_down_a_long_backlog_is_known_to_be_due() -> None:
    world = World()
    world.pause()
    world.add("a", Every(2))
    world.advance(5000)
    assert "it is due, and waits for the scheduler" in explained(world, "a", 4000)
    assert "its trigger does not fire then" in explained(world, "a", 4001)
    world.let_go()


def explained(world: World, job_id: str, seconds: float) -> str:
    return world.scheduler.explain(job_id, at=at(0) + timedelta(seconds=seconds))
