"""Several schedulers share a job store: each slot is run by one of them, and none is lost."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest
from sharing_kit import RAN, START, Company, HoldingExecutor, Node, ran

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_LOST
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.runs import Run, RunKind, RunQuery, RunState
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.testing import ManualScheduler


def every_second(node: Node, **options: object) -> None:
    node.add_job(ran, "interval", seconds=1, start_date=START, id="j", **options)


def states(node: Node, job_id: str = "j") -> list[str]:
    """Return what became of a job's runs, oldest first."""
    node.run_due()
    return [run.state for run in reversed(node.get_runs(job_id))]


# -- slots ------------------------------------------------------------------------------------


def test_each_slot_is_run_by_one_of_several_schedulers(company: Company) -> None:
    nodes = [company.new() for _ in range(3)]
    every_second(nodes[0])
    for second in range(10):
        for node in nodes[second % 3 :] + nodes[: second % 3]:
            node.run_due()
        company.clock.advance(seconds=1)
    assert [(job_id, slot) for job_id, slot, _ in RAN] == [("j", second) for second in range(10)]
    assert {node for _, _, node in RAN} == {node.id for node in nodes}


def test_a_job_that_one_adds_is_run_by_another(company: Company) -> None:
    adds, runs = company.new(), company.new()
    adds.add_job(ran, id="once")
    runs.run_due()
    assert [*RAN] == [("once", 0, runs.id)]
    assert adds.get_job("once") is None
    assert [run.node for run in adds.get_runs("once")] == [runs.id]


@pytest.mark.parametrize("change", ["pause", "remove"])
def test_a_job_that_one_stops_is_run_by_nobody(company: Company, change: str) -> None:
    one, other = company.new(), company.new()
    every_second(one)
    other.run_due()
    getattr(one, f"{change}_job")("j")
    company.clock.advance(seconds=5)
    other.run_due()
    one.run_due()
    assert [slot for _, slot, _ in RAN] == [0]


def test_an_edit_by_one_is_not_lost_when_another_runs_the_job(company: Company) -> None:
    one, other = company.new(), company.new()
    every_second(one)
    other.run_due()
    one.modify_job("j", name="renamed")
    company.clock.advance(seconds=1)
    other.run_due()
    assert [slot for _, slot, _ in RAN] == [0, 1]
    job = one.get_job("j")
    assert job is not None
    assert (job.name, job.next_run_time) == ("renamed", START + timedelta(seconds=2))


def test_max_instances_counts_what_runs_anywhere(company: Company) -> None:
    held = HoldingExecutor()
    one, other = company.new(executors={"default": held}), company.new()
    every_second(one, max_instances=2)
    one.run_due()
    company.clock.advance(seconds=1)
    one.run_due()
    company.clock.advance(seconds=1)
    other.run_due()
    assert RAN == []
    assert states(other) == ["running", "running", "skipped"]
    held.begin()
    held.end()
    one.run_due()
    company.clock.advance(seconds=1)
    other.run_due()
    assert [*RAN] == [("j", 3, other.id)]


def test_what_ran_before_a_restart_is_still_explained(company: Company) -> None:
    first = company.new()
    every_second(first)
    first.run_due()
    first.shutdown()
    company.clock.advance(minutes=1)
    second = company.new()
    assert "succeeded" in second.explain("j", START)
    second.run_due()
    (latest, *_) = second.get_runs("j")
    assert (latest.state, latest.count, latest.node) == (RunState.SUCCEEDED, 60, second.id)


# -- placement --------------------------------------------------------------------------------


def test_a_job_runs_where_its_executor_is(company: Company) -> None:
    one = company.new()
    one.add_job(ran, id="far", executor="far")
    one.add_job(ran, id="near")
    one.run_due()
    assert [job_id for job_id, _, _ in RAN] == ["near"]
    other = company.new(executors={"far": {"type": "debug"}})
    other.run_due()
    assert RAN[1:] == [("far", 0, other.id)]


def test_what_one_has_no_room_for_another_runs(company: Company) -> None:
    held = HoldingExecutor(size=2)
    one, other = company.new(executors={"default": held}), company.new()
    for number in range(5):
        one.add_job(ran, id=f"j{number}")
    one.run_due()
    assert len(held.works) == 2
    assert len(one.get_jobs()) == 3
    other.run_due()
    assert [job_id for job_id, _, _ in RAN] == ["j2", "j3", "j4"]
    assert other.get_jobs() == []


def test_what_there_was_no_room_for_runs_when_there_is_room_again(company: Company) -> None:
    held = HoldingExecutor(size=1)
    node = company.new(executors={"default": held})
    for number in range(3):
        node.add_job(ran, id=f"j{number}")
    ended = []
    for _ in range(3):
        node.run_due()
        ended += [run.job_id for run in held.begin()]
        held.end()
    assert ended == ["j0", "j1", "j2"]


def test_a_job_that_nobody_has_an_executor_for_is_warned_of_once(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    node = company.new()
    node.add_job(ran, id="far", executor="far")
    for _ in range(3):
        company.clock.advance(seconds=11)
        node.run_due()
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len([line for line in told if 'no scheduler has an executor "far"' in line]) == 1
    (late,) = node.health().overdue
    assert (late.job_id, late.reason) == ("far", 'there is no executor "far" here')


def test_a_slot_that_waited_for_room_is_not_missed_by_a_scheduler_that_came_later(
    company: Company,
) -> None:
    held = HoldingExecutor(size=1)
    one = company.new(executors={"default": held})
    for number in range(2):
        one.add_job(ran, id=f"j{number}")
    one.run_due()
    company.clock.advance(minutes=1)
    other = company.new()
    other.run_due()
    assert [*RAN] == [("j1", 0, other.id)]


@pytest.mark.parametrize("absence", ["pause", "shutdown"])
def test_a_slot_at_which_nobody_was_there_is_missed(company: Company, absence: str) -> None:
    one = company.new()
    one.add_job(ran, "date", run_date=START + timedelta(seconds=10), id="j")
    getattr(one, absence)()
    company.clock.advance(minutes=1)
    other = company.new()
    other.run_due()
    assert RAN == []
    assert [run.state for run in other.get_runs("j")] == ["missed"]


# -- clients ----------------------------------------------------------------------------------


def test_a_client_adds_and_changes_jobs_that_others_run(company: Company) -> None:
    client, node = company.new(role="client"), company.new()
    client.add_job(ran, id="once")
    every_second(client)
    node.run_due()
    client.pause_job("j")
    company.clock.advance(seconds=1)
    node.run_due()
    assert sorted(RAN) == [("j", 0, node.id), ("once", 0, node.id)]
    assert [found.id for found in client.nodes()] == [node.id]
    assert client.health().ok


def test_a_run_that_a_client_asks_for_is_started_by_another(company: Company) -> None:
    client, node = company.new(role="client"), company.new()
    client.add_job(ran, "interval", hours=1, id="j")
    run = client.run_now("j")
    assert (run.state, run.kind) == (RunState.WAITING, RunKind.MANUAL)
    node.run_due()
    assert [*RAN] == [("j", 0, node.id)]
    assert states(node) == ["succeeded"]


def test_a_run_that_a_client_asks_for_is_started_though_nothing_was_known_to_wait(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, node = company.new(role="client"), company.new()
    every_second(client)
    client.add_job(ran, "interval", hours=1, id="k", next_run_time=START + timedelta(hours=1))
    claim_waiting, asked = node.store.claim_waiting, list[float]()

    def counted(now: datetime, *args: Any, **kwargs: Any) -> Any:
        asked.append((now - START).total_seconds())
        return claim_waiting(now, *args, **kwargs)

    monkeypatch.setattr(node.store, "claim_waiting", counted)
    node.run_due()
    company.clock.advance(seconds=1)
    node.run_due()
    assert not asked  # At the end of each turn it is known that nothing waits.
    client.run_now("k")
    company.clock.advance(seconds=1)
    node.run_due()
    assert asked == [2]
    assert [(job_id, slot) for job_id, slot, _ in RAN] == [("j", 0), ("j", 1), ("j", 2), ("k", 1)]


def test_a_client_without_a_shared_job_store_is_refused() -> None:
    client = ManualScheduler(jobstores={"default": MemoryJobStore()})
    with pytest.raises(ValueError, match=r'job store "default" .* cannot be shared'):
        client.start(role="client")
    assert not client.running


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(ValueError, match="role must be one of scheduler, client, got 'boss'"):
        ManualScheduler().start(role="boss")


# -- nodes that die ---------------------------------------------------------------------------


def test_all_who_share_a_job_store_are_listed(company: Company) -> None:
    one = company.new()
    company.clock.advance(seconds=1)
    other = company.new(executors={"more": {"type": "debug"}})
    assert [node.id for node in one.nodes()] == [one.id, other.id]
    assert set(one.nodes()[1].executors) == {"default", "more"}
    assert all(node.alive for node in one.nodes())
    other.shutdown()
    assert [node.id for node in one.nodes()] == [one.id]
    with pytest.raises(SchedulerNotRunningError):
        other.nodes()


def test_what_a_dead_node_was_running_is_lost_and_said_so(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    held = HoldingExecutor()
    dead, other = company.new(executors={"default": held}), company.new()
    every_second(dead)
    dead.run_due()
    held.begin()
    heard: list[int] = []
    other.add_listener(lambda event: heard.append(event.code), EVENT_JOB_LOST | EVENT_JOB_ERROR)
    other.run_due()
    assert states(other) == ["running"]

    dead.is_taken_for_dead()
    company.clock.advance(seconds=11)
    assert states(other)[0] == "lost"
    assert heard == [EVENT_JOB_LOST, EVENT_JOB_ERROR]
    assert "its node died or was cut off" in caplog.text
    assert "was lost: its node died" in other.explain("j", START)
    assert [slot for _, slot, _ in RAN] == [11]


def test_a_result_that_comes_after_a_run_was_lost_is_refused(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    held = HoldingExecutor()
    dead, other = company.new(executors={"default": held}), company.new()
    dead.add_job(ran, id="j")
    dead.run_due()
    held.begin()
    dead.is_taken_for_dead()
    company.clock.advance(seconds=11)
    other.run_due()
    held.end()
    dead.run_due()
    assert "came too late and was refused" in caplog.text
    assert states(other) == ["lost"]


def test_a_run_that_was_lost_is_run_again_where_its_job_says_so(company: Company) -> None:
    held = HoldingExecutor()
    dead, other = company.new(executors={"default": held}), company.new()
    dead.add_job(ran, id="j", recover=True)
    dead.run_due()
    held.begin()
    dead.is_taken_for_dead()
    company.clock.advance(seconds=11)
    assert states(other) == ["lost", "succeeded"]
    assert [*RAN] == [("j", 0, other.id)]
    assert [(run.kind, run.attempt) for run in other.get_runs("j")] == [
        ("recovery", 2),
        ("slot", 1),
    ]


def test_a_batch_that_is_recovered_runs_one_after_the_other(company: Company) -> None:
    held = HoldingExecutor()
    dead = company.new(executors={"default": held})
    every_second(dead, coalesce=False, misfire_grace_time=None, recover=True)
    company.clock.advance(seconds=3)
    dead.run_due()
    (work,) = held.works
    assert len(work.runs) == 4
    held_too = HoldingExecutor()
    other = company.new(executors={"default": held_too})
    dead.pause_job("j")
    dead.is_taken_for_dead()
    company.clock.advance(seconds=11)
    done = []
    for _ in range(4):
        other.run_due()
        begun = held_too.begin()
        assert len(begun) == 1
        done += [run.scheduled_at for run in begun]
        held_too.end()
    assert done == [START + timedelta(seconds=second) for second in range(4)]


def test_a_node_that_was_taken_for_dead_says_so_and_goes_on(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    dead, other = company.new(), company.new()
    every_second(dead)
    dead.is_taken_for_dead()
    company.clock.advance(seconds=11)
    other.run_due()
    RAN.clear()
    company.clock.advance(seconds=1)
    dead.run_due()
    assert "took this one for dead" in caplog.text
    assert [*RAN] == [("j", 12, dead.id)]
    assert {node.id for node in other.nodes()} == {dead.id, other.id}


def test_what_was_not_begun_at_a_shutdown_is_left_to_the_others(company: Company) -> None:
    one, other = company.new(), company.new()
    every_second(one)
    claims = one.store.claim

    def shut_down_meanwhile(*args: object, **kwargs: object) -> object:
        won = claims(*args, **kwargs)  # type: ignore[arg-type]
        one.store.claim = claims  # type: ignore[method-assign]
        one.shutdown()
        return won

    one.store.claim = shut_down_meanwhile  # type: ignore[method-assign]
    try:
        one.run_due()
    except SchedulerNotRunningError:
        pass
    assert RAN == []
    other.run_due()
    assert [*RAN] == [("j", 0, other.id)]


def test_who_cannot_say_goodbye_falls_silent(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    held = HoldingExecutor()
    node = company.new(executors={"default": held})
    every_second(node)
    node.run_due()
    held.begin()
    (member,) = node._loop.company._members.values()
    apply, dead = node.store.apply, node.id

    def fail(*args: object) -> list[bool]:
        raise OSError("no answer")

    node.store.apply = fail  # type: ignore[method-assign]
    held.end()
    node.shutdown()
    assert 'Error shutting down job store "default"' in caplog.text
    member.rejoin()
    assert member._ending.is_set()
    node.store.apply = apply  # type: ignore[method-assign]

    other = company.new()
    assert {found.id for found in other.nodes()} == {dead, other.id}
    other.is_taken_for_dead(dead)
    company.clock.advance(seconds=11)
    assert states(other)[0] == "lost"


def test_a_listener_may_shut_the_scheduler_down(company: Company) -> None:
    node = company.new()
    node.add_listener(lambda event: node.shutdown(), EVENT_JOB_EXECUTED)
    for number in range(3):
        node.add_job(ran, id=f"j{number}")
    try:
        node.run_due()
    except SchedulerNotRunningError:
        pass
    assert not node.running
    other = company.new()
    other.run_due()
    assert sorted(job_id for job_id, _, _ in RAN) == ["j0", "j1", "j2"]
    assert other.get_runs(state="running") == []


def test_a_run_that_ends_while_it_is_looked_for_is_not_run_again(company: Company) -> None:
    held = HoldingExecutor()
    node = company.new(executors={"default": held})
    node.add_job(ran, id="j")
    node.run_due()
    held.begin()
    # As after a call of the store that failed, and may have claimed something all the same.
    node._loop.troubles.unsure.add("default")
    get_runs = node.store.get_runs

    def slowly(query: RunQuery) -> list[Run]:
        found = get_runs(query)
        held.end()
        return found

    node.store.get_runs = slowly  # type: ignore[method-assign]
    node.run_due()
    assert not held.works
    assert [run.state for run in get_runs(RunQuery())] == ["succeeded"]


def test_what_cannot_be_noted_as_begun_does_not_begin_and_is_left_to_whoever_can(
    company: Company,
) -> None:
    held = HoldingExecutor()
    node = company.new(executors={"default": held})
    every_second(node, coalesce=False, misfire_grace_time=None)
    company.clock.advance(seconds=1)
    node.run_due()
    node.pause_job("j")
    apply = node.store.apply

    def fail(*args: object) -> list[bool]:
        raise OSError("no answer")

    # The first of the batch was claimed as running; the second one waits for it.
    node.store.apply = fail  # type: ignore[method-assign]
    assert [run.scheduled_at for run in held.begin()] == [START]
    node.store.apply = apply  # type: ignore[method-assign]
    held.end()
    company.clock.advance(seconds=1)
    node.run_due()
    company.clock.advance(seconds=1)
    node.run_due()
    assert [run.scheduled_at for run in held.begin()] == [START + timedelta(seconds=1)]
    held.end()
    assert [(run.kind, run.state) for run in node.get_runs("j")] == [
        ("recovery", "succeeded"),
        ("slot", "cancelled"),
        ("slot", "succeeded"),
    ]
