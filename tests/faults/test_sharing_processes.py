"""Schedulers in processes of their own share one store: edits, deaths, room and goodbyes."""

from __future__ import annotations

import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import threading
import time
from ast import literal_eval
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from fault_kit import PATIENCE, sqlite_url, wait_until

from programs import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

#: For how many seconds a dead node counts as alive, where that is waited for.
LEASE = 1.5


class Process:
    """A scheduler in a process of its own; see `node_program`."""

    def __init__(self, url: str, executors: tuple[str, ...], role: str, **store: float) -> None:
        options = {"url": url, "executors": executors, "role": role, "store": store}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "node_program", json.dumps(options)],
            env=os.environ | {"PYTHONPATH": f"{ROOT}/tests:{ROOT}/tests/faults"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.ran: list[dict[str, Any]] = []
        self.log: list[str] = []
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        kind, _, self.node = self._answers.get(timeout=PATIENCE).partition(" ")
        assert kind == "started", self.log

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            kind, _, rest = line.rstrip("\n").partition(" ")
            if kind == "ran":
                self.ran.append(json.loads(rest))
            elif kind == "log":
                self.log.append(rest)
            else:
                self._answers.put(f"{kind} {rest}")
        self._answers.put("! it has ended")

    def __call__(self, expression: str) -> Any:
        """Return the value of an expression there, or its repr if that is no literal."""
        self.send(expression)
        kind, _, answer = self._answers.get(timeout=PATIENCE).partition(" ")
        assert kind == "=", (answer, self.log)
        try:
            return literal_eval(answer)
        except (SyntaxError, ValueError):
            return answer

    def send(self, expression: str) -> None:
        """Let an expression be computed, and do not wait for that."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{expression}\n")
        self._process.stdin.flush()

    def runs_of(self, job_id: str) -> list[dict[str, Any]]:
        return [run for run in self.ran if run["job"] == job_id]

    def states_of(self, job_id: str) -> list[str]:
        """Return the states of a job's Runs, as the store has them, the newest first."""
        states: list[str] = self(f"[str(run.state) for run in scheduler.get_runs({job_id!r})]")
        return states

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                pass


Start = Callable[..., Process]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        with sqlite_url() as url:
            yield url
    else:
        yield request.getfixturevalue("postgresql_url")


@pytest.fixture
def start(url: str) -> Iterator[Start]:
    processes: list[Process] = []

    def start_one(*executors: str, role: str = "scheduler", **store: float) -> Process:
        processes.append(Process(url, executors or ("default",), role, **store))
        return processes[-1]

    yield start_one
    for process in processes:
        process.close()


def wait_for_run(process: Process, job_id: str, number: int = 1) -> dict[str, Any]:
    wait_until(lambda: len(process.runs_of(job_id)) >= number, f"run {number} of {job_id}")
    return process.runs_of(job_id)[number - 1]


# -- edits --------------------------------------------------------------------------------------


def test_what_one_adds_changes_or_resumes_another_runs_soon(start: Start, url: str) -> None:
    here, there = start("here"), start("there")
    is_told = url.startswith("postgresql")
    took: list[float] = []
    for number in range(8 if is_told else 2):
        job = f"job-{number}"
        (done, _) = here(f"after(scheduler.add_job(note, executor='there', id={job!r}))")
        took.append(wait_for_run(there, job)["at"] - done)

        here(f"scheduler.add_job(note, 'interval', hours=1, executor='there', id={job!r})")
        (done, _) = here(f"after(scheduler.modify_job({job!r}, next_run_time=soon()))")
        took.append(wait_for_run(there, job, 2)["at"] - done)

        here(f"scheduler.remove_job({job!r})")
        here(
            f"scheduler.add_job(note, 'date', run_date=soon(-1), executor='there', id={job!r}, "
            f"next_run_time=None)"
        )
        (done, _) = here(f"after(scheduler.resume_job({job!r}))")
        took.append(wait_for_run(there, job, 3)["at"] - done)
    assert here.ran == []
    if is_told:
        assert statistics.quantiles(took, n=20)[-1] < 0.2, sorted(took)
    else:
        assert max(took) < 1.0 + 0.5, sorted(took)  # the poll ceiling, and a slow machine


def test_what_one_pauses_or_removes_another_runs_no_more(start: Start) -> None:
    here, there = start("here"), start("there")
    for job in ("paused", "removed", "modified"):
        here(
            f"scheduler.add_job(note, 'interval', seconds=0.1, executor='there', id={job!r}, "
            f"args=['old'])"
        )
        wait_for_run(there, job, 3)
    ended = {
        "paused": here("after(scheduler.pause_job('paused'))")[1],
        "removed": here("after(scheduler.remove_job('removed'))")[1],
        "modified": here("after(scheduler.modify_job('modified', args=['new']))")[1],
    }
    here("scheduler.add_job(note, 'date', run_date=soon(1), executor='there', id='marker')")
    wait_for_run(there, "marker")
    for job, moment in ended.items():
        later = [run["word"] for run in there.runs_of(job) if run["slot"] > moment]
        assert set(later) == ({"new"} if job == "modified" else set()), job


def test_a_client_adds_jobs_that_others_run_and_is_no_node(start: Start) -> None:
    client, there = start(role="client"), start()
    client("scheduler.add_job(note, id='job')")
    wait_for_run(there, "job")
    wait_until(lambda: client.states_of("job") == ["succeeded"], "the run is recorded")
    assert client.ran == []
    assert client("[node.id for node in scheduler.nodes()]") == [there.node]
    assert client("scheduler.health().ok") is True


def test_nodes_are_listed_with_their_executors(start: Start) -> None:
    here, there = start("default"), start("there", "default")
    wanted = {here.node: ("default",), there.node: ("there", "default")}
    for process in (here, there):
        found = process("[(node.id, node.executors, node.alive) for node in scheduler.nodes()]")
        assert {node: tuple(executors) for node, executors, _ in found} == wanted
        assert all(alive for _, _, alive in found)


# -- placement and room -------------------------------------------------------------------------


def test_a_job_runs_where_its_executor_is(start: Start) -> None:
    here, there = start("default", "here"), start("default", "there")
    for number in range(5):
        here(f"scheduler.add_job(note, executor='there', id='there-{number}')")
        there(f"scheduler.add_job(note, executor='here', id='here-{number}')")
    for number in range(5):
        wait_for_run(there, f"there-{number}")
        wait_for_run(here, f"here-{number}")
    assert (len(here.ran), len(there.ran)) == (5, 5)


def test_the_instances_of_a_job_are_counted_over_all_processes(start: Start) -> None:
    nodes = [start(poll_interval=0.2), start(poll_interval=0.2)]
    nodes[0]("scheduler.add_job(hold, 'interval', seconds=0.3, max_instances=2, id='job')")
    wait_until(lambda: nodes[0].states_of("job").count("skipped") >= 4, "runs are skipped")
    assert nodes[0].states_of("job").count("running") == 2
    assert len(nodes[0].ran) + len(nodes[1].ran) == 2


# -- death --------------------------------------------------------------------------------------


def test_who_is_stopped_for_longer_than_its_lease_counts_as_dead_and_is_refused(
    start: Start,
) -> None:
    stopped = start("default", lease=LEASE, poll_interval=0.1)
    stopped("scheduler.add_job(hold, id='job', recover=True)")
    first = wait_for_run(stopped, "job")
    stopped.signal(signal.SIGSTOP)
    other = start("default", lease=LEASE, poll_interval=0.1)
    again = wait_for_run(other, "job")
    assert (first["attempt"], again["attempt"]) == (1, 2)
    assert first["slot"] == again["slot"]
    assert other.states_of("job") == ["running", "lost"]

    stopped.signal(signal.SIGCONT)
    stopped("released.set()")
    wait_until(
        lambda: any(
            first["run"] in line and "came too late and was refused" in line
            for line in stopped.log
        ),
        "the late result is refused",
    )
    other("released.set()")
    wait_until(lambda: other.states_of("job") == ["succeeded", "lost"], "the repetition ends")
    assert (len(stopped.ran), len(other.ran)) == (1, 1)

    # It is a node again, and takes part.
    stopped("scheduler.add_executor(ThreadPoolExecutor(1), 'stopped')")
    other("scheduler.add_job(note, executor='stopped', id='later')")
    wait_for_run(stopped, "later")


def test_who_is_killed_and_started_again_ends_at_once_what_it_was_running(start: Start) -> None:
    killed = start()
    killed("scheduler.add_job(hold, 'interval', hours=1, id='job', next_run_time=soon())")
    wait_for_run(killed, "job")
    killed.kill()
    again = start()  # with a lease of half a minute
    wait_until(lambda: again.states_of("job") == ["lost"], "the run is lost", 3)
    again("scheduler.modify_job('job', next_run_time=soon())")
    wait_for_run(again, "job")
    assert again("[node.id for node in scheduler.nodes()]") == [again.node]


# -- goodbye ------------------------------------------------------------------------------------


def test_who_is_shut_down_leaves_its_jobs_to_others_within_a_second(start: Start) -> None:
    first = start()
    first("scheduler.add_job(note, 'interval', seconds=0.2, id='job')")
    wait_for_run(first, "job", 2)
    other = start()
    (done, _) = first("after(scheduler.shutdown())")
    wait_until(lambda: [run for run in other.ran if run["at"] > done], "the other goes on")
    taken_over = min(run["at"] for run in other.ran if run["at"] > done)
    assert taken_over - done < 1
    slots = sorted(round(run["slot"], 1) for run in first.ran + other.ran)
    assert len(slots) == len(set(slots))
    assert max(later - sooner for sooner, later in pairwise(slots)) < 1.2
    runs = other(
        "[(r.scheduled_at.timestamp(), r.attempt, str(r.state), r.reason) for r in "
        "scheduler.get_runs('job')]"
    )
    begun_anew = {slot for slot, attempt, _, _ in runs if attempt > 1}
    for slot, _, state, reason in runs:
        if state == "cancelled":
            # It was claimed at that moment, and left to the other.
            assert (reason, slot in begun_anew) == (
                "its scheduler was shut down before it began",
                True,
            )
        else:
            # While one waits to be begun anew, it counts as an instance.
            allowed = {"succeeded", "running", *(("waiting", "skipped") if begun_anew else ())}
            assert state in allowed, (slot, state, reason)
    assert other("[node.id for node in scheduler.nodes()]") == [other.node]


def test_a_shutdown_waits_no_longer_than_it_is_told_to_and_the_result_counts_still(
    start: Start,
) -> None:
    leaving, other = start("here"), start("there")
    leaving("scheduler.add_job(hold, executor='here', id='job')")
    wait_for_run(leaving, "job")
    began = time.monotonic()
    leaving("scheduler.shutdown(wait=True, timeout=0.3)")
    assert 0.3 <= time.monotonic() - began < 3
    assert other.states_of("job") == ["running"]
    leaving("released.set()")
    wait_until(lambda: other.states_of("job") == ["succeeded"], "the run has ended")
    wait_until(
        lambda: other("[node.id for node in scheduler.nodes()]") == [other.node], "it has left"
    )
