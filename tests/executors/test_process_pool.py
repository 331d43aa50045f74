"""Jobs in processes: what kills one costs one run."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor as ThreadPool
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import process_jobs as jobs
import pytest
from executor_kit import DUE, House, Submission, make_job, make_run, until

from apscheduler.executors._processes import ProcessPool, WorkerDiedError
from apscheduler.executors.base import Load, ShuttingDownError
from apscheduler.executors.pool import ProcessPoolExecutor
from apscheduler.runs import Outcome, RunState

pytestmark = pytest.mark.slow
Make = Callable[..., ProcessPoolExecutor]


@pytest.fixture(scope="module")
def shared() -> Iterator[ProcessPoolExecutor]:
    """An executor of one process for tests that leave it as they found it."""
    executor = ProcessPoolExecutor(1)
    executor.start(House(), "processes")
    yield executor
    executor.shutdown()


@pytest.fixture
def make() -> Iterator[Make]:
    executors = []

    def make(*args: Any, **options: Any) -> ProcessPoolExecutor:
        executors.append(ProcessPoolExecutor(*args, **options))
        executors[-1].start(House(), "processes")
        return executors[-1]

    yield make
    for executor in executors:
        executor.shutdown()


def run(executor: ProcessPoolExecutor, func: Any, *args: Any, **options: Any) -> Outcome:
    work = Submission(func, *args, **options)
    executor.submit_runs(work)
    return work.outcome()


def broken_pool_warnings(caplog: pytest.LogCaptureFixture) -> int:
    return caplog.messages.count("Process pool is broken; replacing pool with a fresh instance")


def test_a_job_runs_in_another_process_which_is_kept(shared: ProcessPoolExecutor) -> None:
    first, second = (run(shared, os.getpid).value for _ in range(2))
    assert first == second != os.getpid()
    assert list(shared._pool._processes) == [first]


def test_a_value_and_an_exception_come_back(shared: ProcessPoolExecutor) -> None:
    assert run(shared, math.factorial, 5).value == 120
    outcome = run(shared, math.sqrt, -1)
    assert outcome.state is RunState.FAILED
    assert isinstance(outcome.exception, ValueError)
    assert outcome.traceback is not None
    assert outcome.started_at <= outcome.ended_at


def test_a_job_knows_its_run(shared: ProcessPoolExecutor) -> None:
    work = Submission(jobs.describe)
    shared.submit_runs(work)
    started, outcome = work.end()
    lateness = (started.started_at - DUE).total_seconds()
    assert outcome.value[1:] == ("a", "run-0", lateness)


def test_a_coroutine_function_is_run_to_its_end(shared: ProcessPoolExecutor) -> None:
    assert run(shared, jobs.coroutine).value == "run-0"


def test_times_are_those_of_the_clock_of_the_scheduler(shared: ProcessPoolExecutor) -> None:
    class Stopped:
        def now(self) -> datetime:
            return datetime(2001, 1, 1, tzinfo=UTC)

    outcome = run(shared, math.factorial, 5, clock=Stopped())
    assert (outcome.started_at, outcome.ended_at) == (Stopped().now(), Stopped().now())


def test_what_a_recovery_would_need_is_not_sent(shared: ProcessPoolExecutor) -> None:
    work = Submission(jobs.coroutine)
    work.runs = [make_run(definition=threading.Lock())]
    shared.submit_runs(work)
    assert work.outcome().value == "run-0"


@pytest.mark.parametrize(
    ("func", "args", "error", "text"),
    [
        (lambda: None, (), pickle.PicklingError, "the call cannot be sent"),
        (math.factorial, (threading.Lock(),), pickle.PicklingError, "the call cannot be sent"),
        (jobs.return_a_lock, (), pickle.PicklingError, "the result cannot be sent back"),
        (jobs.Foreign, (), pickle.UnpicklingError, "cannot be read: ValueError: not made here"),
        (jobs.raise_unsendable, (), pickle.PicklingError, "Unsendable: holds a lock"),
        (jobs.raise_stubborn, (), pickle.PicklingError, "Stubborn: 1 and 2"),
    ],
)
def test_what_cannot_be_sent_fails_and_says_so(
    shared: ProcessPoolExecutor, func: Any, args: Any, error: type[Exception], text: str
) -> None:
    pid = run(shared, os.getpid).value
    outcome = run(shared, func, *args)
    assert outcome.state is RunState.FAILED
    assert isinstance(outcome.exception, error)
    assert text in str(outcome.exception)
    assert run(shared, os.getpid).value == pid


def test_an_exception_that_cannot_be_sent_leaves_its_traceback(
    shared: ProcessPoolExecutor,
) -> None:
    assert "in raise_unsendable" in (run(shared, jobs.raise_unsendable).traceback or "")


def test_a_job_that_cannot_be_found_in_the_process_fails(shared: ProcessPoolExecutor) -> None:
    work = Submission(os.getpid)
    work.job.func_ref = "os:gone"
    shared.submit_runs(work)
    reason = work.outcome().reason or ""
    assert reason.startswith("the call cannot be read in the worker process: LookupError")
    assert "os:gone" in reason


@pytest.mark.parametrize(
    ("func", "arg", "manner"),
    [
        (jobs.die, signal.SIGKILL, "was killed by SIGKILL"),
        (jobs.die, signal.SIGRTMIN + 1, f"was killed by signal {signal.SIGRTMIN + 1}"),
        (jobs.exit_with, 3, "ended with exit code 3"),
    ],
)
def test_a_process_that_dies_costs_its_run_and_is_replaced(
    shared: ProcessPoolExecutor,
    caplog: pytest.LogCaptureFixture,
    func: Any,
    arg: int,
    manner: str,
) -> None:
    pid = run(shared, os.getpid).value
    outcome = run(shared, func, arg)
    assert outcome.state is RunState.FAILED
    assert isinstance(outcome.exception, WorkerDiedError)
    assert outcome.reason == f"worker process {pid} {manner} before it answered"
    assert not outcome.refused
    assert broken_pool_warnings(caplog) == 1
    assert "Error running job a" in caplog.messages
    replacement = run(shared, os.getpid).value
    assert replacement != pid
    assert list(shared._pool._processes) == [replacement]


def test_a_killed_process_leaves_the_others_alone(make: Make, tmp_path: Path) -> None:
    executor = make(2)
    go_on = tmp_path / "go-on"
    works = [Submission(jobs.say_and_wait, tmp_path / str(number), go_on) for number in range(3)]
    for work in works:
        executor.submit_runs(work)
    until(lambda: all((tmp_path / str(number)).exists() for number in range(2)))
    assert executor.load() == Load(workers=2, busy=2, queued=1)
    os.kill(int((tmp_path / "0").read_text()), signal.SIGKILL)
    assert works[0].outcome().state is RunState.FAILED
    until((tmp_path / "2").exists)
    go_on.touch()
    pids = [work.outcome().value for work in works[1:]]
    assert pids[0] == int((tmp_path / "1").read_text())
    assert len({*pids}) == 2


def test_a_process_that_is_killed_while_idle_costs_no_run(
    shared: ProcessPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    pid = run(shared, os.getpid).value
    process = shared._pool._processes[pid]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{pid}") or _is_zombie(pid))
    outcome = run(shared, os.getpid)
    assert outcome.state is RunState.SUCCEEDED
    assert outcome.value != pid
    assert not process.is_alive()


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_death_shows_although_another_process_holds_the_pipe(
    shared: ProcessPoolExecutor, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    try:
        outcome = run(shared, jobs.leave_a_child_and_die, child)
        assert "was killed by SIGKILL" in (outcome.reason or "")
    finally:
        os.kill(int(child.read_text()), signal.SIGKILL)


def test_a_batch_goes_on_after_a_death(shared: ProcessPoolExecutor, tmp_path: Path) -> None:
    work = Submission(jobs.die_once, tmp_path / "mark", runs=3)
    shared.submit_runs(work)
    ends = [work.end() for _ in range(3)]
    assert [(run.id, outcome.state) for run, outcome in ends] == [
        ("run-0", RunState.FAILED),
        ("run-1", RunState.SUCCEEDED),
        ("run-2", RunState.SUCCEEDED),
    ]
    assert ends[1][1].value == ends[2][1].value


def test_an_initializer_prepares_each_process(make: Make) -> None:
    executor = make(1, {"initializer": jobs.prepare, "initargs": (42,)})
    assert run(executor, jobs.prepared).value == 42


def test_a_failing_initializer_is_named(make: Make) -> None:
    executor = make(1, {"initializer": jobs.fail_to_prepare})
    for _ in range(2):
        outcome = run(executor, jobs.prepared)
        assert outcome.state is RunState.FAILED
        assert isinstance(outcome.exception, WorkerDiedError)
        assert re.fullmatch(
            r"the initializer of worker process \d+ failed: OSError: no licence",
            outcome.reason or "",
        )
    until(lambda: not any(process.is_alive() for process in executor._pool._processes.values()))


def test_an_initializer_that_kills_the_process_is_named(make: Make) -> None:
    executor = make(1, {"initializer": os._exit, "initargs": (5,)})
    assert "ended with exit code 5 before it was ready" in (run(executor, os.getpid).reason or "")


def test_a_process_is_replaced_after_so_many_calls(make: Make) -> None:
    executor = make(1, {"max_tasks_per_child": 2})
    first, again, second = (run(executor, os.getpid).value for _ in range(3))
    assert first == again != second


def test_processes_are_started_when_they_are_needed(make: Make) -> None:
    executor = make(3)
    assert executor._pool._processes == {}
    run(executor, os.getpid)
    assert len(executor._pool._processes) == 1


def test_a_job_may_start_processes_of_its_own(shared: ProcessPoolExecutor) -> None:
    assert run(shared, jobs.run_a_process).value == 0


def test_shutdown_finishes_what_was_taken_and_ends_the_processes(make: Make) -> None:
    executor, others = make(1), multiprocessing.active_children()
    works = [Submission(os.getpid) for _ in range(3)]
    for work in works:
        executor.submit_runs(work)
    executor.shutdown(wait=True)
    assert [work.ends() for work in works] == [[("run-0", RunState.SUCCEEDED)]] * 3
    assert executor._pool._processes == {}
    assert set(multiprocessing.active_children()) == set(others)
    with pytest.raises(ShuttingDownError):
        executor.submit_runs(Submission(os.getpid))


def test_without_waiting_the_processes_end_when_they_have_answered(make: Make) -> None:
    executor, others = make(1), multiprocessing.active_children()
    works = [Submission(os.getpid) for _ in range(3)]
    for work in works:
        executor.submit_runs(work)
    executor.shutdown(wait=False)
    assert len({work.outcome().value for work in works}) == 1
    until(lambda: set(multiprocessing.active_children()) == set(others))


def test_an_executor_can_be_started_again(make: Make) -> None:
    executor = make(1)
    first = run(executor, os.getpid).value
    executor.shutdown()
    executor.start(House(), "processes")
    assert run(executor, os.getpid).value not in (first, os.getpid())


def test_the_pool_is_an_executor_of_the_standard_library(shared: ProcessPoolExecutor) -> None:
    pool = shared._pool
    assert pool.submit(math.factorial, 5).result() == 120
    assert list(pool.map(math.factorial, [3, 4])) == [6, 24]
    error = pool.submit(math.sqrt, -1).exception()
    assert isinstance(error, ValueError)
    assert "Traceback" in error.__notes__[0]


def test_the_work_of_3x_is_reported_through_the_hooks(make: Make) -> None:
    executor = make(1)
    house: Any = executor._scheduler
    executor.submit_job(make_job(math.factorial, 5, misfire_grace_time=None), [DUE])
    executor.submit_job(make_job(jobs.return_a_lock, id="b", misfire_grace_time=None), [DUE])
    executor.shutdown()
    (event,) = house.events
    assert (event.job_id, event.retval) == ("a", 120)
    (succeeded, failed) = house.reports
    assert succeeded[:3] == ("succeeded", "processes", "a")
    assert failed[:3] == ("failed", "processes", "b")
    assert isinstance(failed[3], pickle.PicklingError)
    assert dict(executor._instances) == {}


def test_options_are_checked_when_the_executor_is_made() -> None:
    with pytest.raises(ValueError, match="max_workers"):
        ProcessPoolExecutor(0)
    with pytest.raises(ValueError, match="max_tasks_per_child must be >= 1, not 0"):
        ProcessPoolExecutor(1, {"max_tasks_per_child": 0})
    with pytest.raises(TypeError, match="initializer must be a callable, not 'x'"):
        ProcessPoolExecutor(1, {"initializer": "x"})
    with pytest.raises(TypeError, match="no_such_option"):
        ProcessPoolExecutor(1, {"no_such_option": 1})


def test_the_options_of_the_caller_are_left_alone() -> None:
    options = {"max_tasks_per_child": 5}
    executor = ProcessPoolExecutor("2", options)
    assert options == {"max_tasks_per_child": 5}
    assert executor.pool_kwargs["mp_context"].get_start_method() == "spawn"
    assert executor.pool_kwargs["max_tasks_per_child"] == 5
    executor.shutdown()


def test_another_way_of_starting_processes_can_be_chosen(make: Make) -> None:
    context = multiprocessing.get_context("forkserver")
    executor = make(1, {"mp_context": context})
    assert run(executor, math.factorial, 5).value == 120


PROGRAM = """
import os, signal, sys, time
sys.path.insert(0, {kit!r})
from executor_kit import House, Submission, until
import process_jobs as jobs
from pathlib import Path
from apscheduler.executors.pool import ProcessPoolExecutor

if __name__ == "__main__":
    executor = ProcessPoolExecutor(2{options})
    executor.start(House(), "processes")
"""


@pytest.fixture
def start(start_python: Any, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that starts a program with an executor of two processes."""

    def start(text: str, options: str = "") -> Any:
        file = tmp_path / "program.py"
        kit = os.path.dirname(__file__)
        file.write_text(PROGRAM.format(kit=kit, options=options) + text)
        return start_python(file)

    return start


def test_queued_jobs_are_finished_when_the_interpreter_ends(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    program = start(f"""
    for number in range(4):
        name = Path({str(tmp_path)!r}, str(number))
        executor.submit_runs(Submission(jobs.say_and_wait, name, Path({__file__!r})))
    print("main has ended")
""")
    assert program.finish() == (0, ["main has ended"], "")
    assert all((tmp_path / str(number)).exists() for number in range(4))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_idle_processes_do_not_hold_the_interpreter_up(
    start: Callable[..., Any], method: str
) -> None:
    program = start(
        """
    works = [Submission(os.getpid) for _ in range(4)]
    for work in works:
        executor.submit_runs(work)
    print(len({work.outcome().value for work in works}) > 0)
""",
        f", {{'mp_context': __import__('multiprocessing').get_context({method!r})}}",
    )
    assert program.finish(timeout=20) == (0, ["True"], "")


def test_idle_processes_end_with_a_killed_parent(start: Callable[..., Any]) -> None:
    program = start("""
    work = Submission(os.getpid)
    executor.submit_runs(work)
    print("pid", work.outcome().value, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
""")
    pid = int(program.wait_for("pid").split()[1])
    program.finish()
    until(lambda: not os.path.exists(f"/proc/{pid}") or _is_zombie(pid))


def test_an_interrupt_of_the_terminal_leaves_idle_processes_quiet(
    start: Callable[..., Any],
) -> None:
    program = start("""
    work = Submission(os.getpid)
    executor.submit_runs(work)
    first = work.outcome().value
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        work = Submission(os.getpid)
        executor.submit_runs(work)
        print(work.outcome().value == first)
""")
    program.wait_for("ready")
    program.interrupt()
    assert program.finish() == (0, ["ready", "True"], "")


def test_a_fork_of_the_program_leaves_the_processes_alone(start: Callable[..., Any]) -> None:
    program = start("""
    def pid_of_a_run():
        work = Submission(os.getpid)
        executor.submit_runs(work)
        return work.outcome().value

    first = pid_of_a_run()
    until(lambda: executor.load().busy == 0)
    pid = os.fork()
    if not pid:
        import gc; gc.collect()
        executor.start(House(), "processes")
        print(pid_of_a_run() != first, flush=True)
        executor.shutdown()
        os._exit(0)
    os.waitpid(pid, 0)
    print(pid_of_a_run() == first, flush=True)
""")
    assert program.finish() == (0, ["True", "True"], "")


def test_a_pool_that_is_dropped_ends_its_processes() -> None:
    pool = ProcessPool(1, multiprocessing.get_context("spawn"))
    process = None
    pool.submit(os.getpid).result()
    (process,) = pool._processes.values()
    del pool
    process.join()
    assert process.exitcode == 0


def test_many_threads_may_call_the_pool_at_once(shared: ProcessPoolExecutor) -> None:
    with ThreadPool(4) as callers:
        futures = [callers.submit(run, shared, math.factorial, number) for number in range(40)]
        values = [future.result().value for future in futures]
    assert values == [math.factorial(number) for number in range(40)]
