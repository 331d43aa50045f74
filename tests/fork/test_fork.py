"""In a fork of its process a scheduler is stopped, and nothing of the parent is in the way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("not hasattr(__import__('os'), 'fork')", reason="there are no forks"),
]

Run = Callable[[str], list[str]]

RUNNING = """
scheduler = BackgroundScheduler(timezone="UTC")
scheduler.add_job(print, "interval", hours=1, id="hourly")
scheduler.start()
log_to_stdout()
"""


def test_in_a_fork_the_scheduler_is_stopped_and_says_so_once_when_it_is_used(run: Run) -> None:
    printed = run(
        RUNNING
        + """
def child():
    print(scheduler.running, scheduler.health().running)
    print(scheduler.get_job("hourly").id, [job.id for job in scheduler.get_jobs()])
    scheduler.add_job(print, id="another")

print(fork(child), scheduler.running, len(scheduler.get_jobs()), os.getpid())
"""
    )
    stopped, said, known, adding, parent = printed
    assert stopped == "False False"
    code, runs, jobs, pid = parent.split()
    assert said.startswith(f"WARNING This scheduler was running in process {pid} when process ")
    assert "call start() after the fork" in said
    assert known == "hourly ['hourly']"
    assert adding.startswith("INFO Adding job tentatively")
    assert (code, runs, jobs) == ("0", "True", "1")


@pytest.mark.parametrize(
    "use",
    [
        "scheduler.add_job(print)",
        "scheduler.get_jobs()",
        "scheduler.get_job('hourly')",
        "scheduler.print_jobs()",
        "scheduler.modify_job('hourly', name='other')",
        "scheduler.pause_job('hourly')",
        "scheduler.remove_job('hourly')",
        "scheduler.remove_all_jobs()",
        "job.modify(name='other')",
        "refused(lambda: scheduler.run_now('hourly'))",
        "refused(scheduler.pause)",
        "refused(scheduler.resume)",
        "refused(lambda: scheduler.export_jobs(os.devnull))",
    ],
)
def test_whatever_is_done_with_it_first_says_so(run: Run, use: str) -> None:
    printed = run(
        RUNNING
        + f"""
def refused(call):
    try:
        call()
    except Exception as error:
        print(type(error).__name__)

job = scheduler.get_job("hourly")
print(fork(lambda: ({use}, scheduler.get_jobs())))
"""
    )
    assert len([line for line in printed if line.startswith("WARNING This scheduler was")]) == 1
    assert printed[-1] == "0"


@pytest.mark.parametrize(
    "start",
    [
        "scheduler = BackgroundScheduler(timezone='UTC'); scheduler.start()",
        "scheduler = BlockingScheduler(timezone='UTC'); in_thread(scheduler.start)",
        "scheduler = AsyncIOScheduler(timezone='UTC'); in_thread_loop(scheduler)",
    ],
)
def test_a_shutdown_at_the_end_of_a_fork_is_silent(run: Run, start: str) -> None:
    printed = run(
        f"""
import atexit
log_to_stdout()
{start}
atexit.register(scheduler.shutdown)
print("exit code", fork(lambda: (scheduler.shutdown(), scheduler.shutdown(timeout=1))))
print("exit code", fork(lambda: None))
"""
    )
    assert [line for line in printed if "exit" in line] == ["exit code 0", "exit code 0"]
    assert len([line for line in printed if "has been shut down" in line]) <= 1
    assert not [line for line in printed if line.startswith(("WARNING", "ERROR"))]


def test_a_coroutine_of_a_fork_need_not_mind_that_the_scheduler_is_closed(run: Run) -> None:
    assert run(
        """
import asyncio

async def main():
    async with AsyncIOScheduler(timezone="UTC") as scheduler:
        pid = os.fork()
        if not pid:
            await scheduler.aclose()
            scheduler.shutdown()
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), scheduler.running)

asyncio.run(main())
"""
    ) == ["7 True"]


def test_shut_down_before_the_fork_it_is_not_running_in_the_fork_either(run: Run) -> None:
    assert run(
        """
scheduler = BackgroundScheduler(timezone="UTC")
scheduler.add_job(print, id="a")

def child():
    print([job.id for job in scheduler.get_jobs()])
    try:
        scheduler.shutdown()
    except Exception as error:
        print(type(error).__name__)

fork(child)
scheduler.remove_all_jobs()
scheduler.start()
scheduler.add_job(print, "interval", hours=1)
scheduler.shutdown()
fork(child)
"""
    ) == ["['a']", "SchedulerNotRunningError", "[]", "SchedulerNotRunningError"]


@pytest.mark.parametrize("kind", ["Background", "Blocking", "AsyncIO"])
def test_a_scheduler_that_is_started_in_a_fork_runs_the_jobs_that_were_in_memory_as_its_own(
    run: Run, kind: str
) -> None:
    printed = run(
        f"""
import asyncio
log_to_stdout()
logging.getLogger("apscheduler").setLevel(logging.WARNING)
scheduler = {kind}Scheduler(timezone="UTC", executors={{"pool": {{"type": "threadpool"}}}})
scheduler.add_listener(lambda event: print(event), EVENT_JOB_ERROR)
ended = threading.Semaphore(0)
ticks = 0

def tick():
    global ticks
    ticks += 1
    if ticks == 3:
        print("ticks in", os.getpid())
        ended.release()

def start():
    if {kind!r} == "Blocking":
        in_thread(scheduler.start)
    elif {kind!r} == "AsyncIO":
        in_thread_loop(scheduler)
    else:
        scheduler.start()

scheduler.add_job(tick, "interval", seconds=0.1, id="tick", executor="pool")
start()
ended.acquire()

def child():
    global ticks
    assert not ended.acquire(timeout=0.3), "it ticks by itself"
    ticks = 0
    logging.getLogger("apscheduler").setLevel(logging.INFO)
    start()
    ended.acquire()
    scheduler.shutdown(wait=False)

code = fork(child)
print("parent", os.getpid(), code, scheduler.running)
before = ticks
while ticks < before + 2:
    time.sleep(0.01)
scheduler.shutdown(wait=False)
"""
    )
    parent = next(line.split()[1] for line in printed if line.startswith("parent"))
    assert printed[0] == f"ticks in {parent}"
    assert f"parent {parent} 0 True" in printed
    assert [line for line in printed if line.startswith("ticks in")][1] != printed[0]
    assert any(
        line.startswith(f"INFO It was running in process {parent} when process")
        for line in printed
    )
    assert not [line for line in printed if line.startswith(("WARNING", "ERROR"))]


def test_what_is_running_in_the_parent_is_none_of_the_childs_business(run: Run) -> None:
    assert run(
        """
be_quiet()
scheduler = BackgroundScheduler(timezone="UTC", executors={"default": {"type": "threadpool"}})
begun, may_end = threading.Event(), threading.Event()

def long():
    begun.set()
    may_end.wait(PATIENCE)

scheduler.start()
scheduler.add_job(long, id="once", misfire_grace_time=None)
scheduler.add_job(long, "interval", hours=1, id="hourly")
scheduler.run_now("hourly")
begun.wait()

def child():
    print([job.id for job in scheduler.get_jobs()], scheduler.get_runs())
    scheduler.start()
    may_end.set()
    scheduler.run_now("hourly")
    scheduler.shutdown()

print(fork(child), sorted((run.job_id, run.state.value) for run in scheduler.get_runs()))
may_end.set()
scheduler.shutdown()
"""
    ) == ["['hourly'] []", "0 [('hourly', 'running'), ('once', 'running')]"]


def test_a_lock_that_a_thread_of_the_parent_holds_is_not_in_the_childs_way(run: Run) -> None:
    printed = run(
        """
be_quiet()
scheduler = BackgroundScheduler(timezone="UTC", executors={
    "default": {"type": "threadpool"},
    "processes": {"type": "processpool", "max_workers": 1},
})
scheduler.add_jobstore("memory", "other")
scheduler.add_job(int, "interval", hours=1, id="a")
async def coroutine():
    return 5

ended = threading.Event()
scheduler.add_listener(lambda event: ended.set(), EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)

def run_all():
    for func, executor in ((int, "default"), (coroutine, "default"), (int, "processes")):
        scheduler.add_job(func, executor=executor, misfire_grace_time=None)
        assert ended.wait(PATIENCE)
        ended.clear()
    print([run.state.value for run in scheduler.get_runs(limit=3)], flush=True)

def child():
    scheduler.get_jobs()
    scheduler.add_job(int, "interval", hours=1, id="b")
    scheduler.modify_job("a", name="other")
    scheduler.add_listener(print, 0)
    scheduler.explain("a")
    scheduler.health()
    scheduler.shutdown()
    scheduler.start()
    run_all()
    scheduler.shutdown()

if __name__ == "__main__":
    scheduler.start()
    run_all()
    locks = locks_of(scheduler)
    print(len(locks))
    with held(locks):
        print(fork(child))
    run_all()
    scheduler.shutdown()
"""
    )
    done = "['succeeded', 'succeeded', 'succeeded']"
    assert printed[:1] + printed[2:] == [done, done, "0", done]
    assert int(printed[1]) > 15, "the locks were not found"


@pytest.mark.parametrize("patch", ["from gevent import monkey; monkey.patch_all()", ""])
def test_in_a_fork_of_greenlets_the_scheduler_is_stopped_and_can_be_started(
    run: Run, patch: str
) -> None:
    printed = run(
        f"""
{patch}
import gevent.os
from gevent.event import Event
from apscheduler.schedulers.gevent import GeventScheduler
be_quiet()
scheduler = GeventScheduler(timezone="UTC")
ticked = Event()
scheduler.add_job(lambda: ticked.set(), "interval", seconds=0.05, misfire_grace_time=None)
scheduler.start()
assert ticked.wait(PATIENCE)

def child():
    print(scheduler.running, len(scheduler.get_jobs()))
    scheduler.shutdown()
    ticked.clear()
    assert not ticked.wait(0.2), "it ticks by itself"
    scheduler.start()
    assert ticked.wait(PATIENCE)
    scheduler.shutdown()

pid = gevent.os.fork()
if not pid:
    child()
    sys.stdout.flush()
    os._exit(7)
_, status = gevent.os.waitpid(pid, 0) if {bool(patch)!r} else os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), scheduler.running)
ticked.clear()
assert ticked.wait(PATIENCE)
scheduler.shutdown()
"""
    )
    assert printed == ["False 1", "7 True"]


def test_a_fork_makes_up_ids_of_its_own(run: Run) -> None:
    printed = run(
        """
scheduler = BackgroundScheduler(timezone="UTC")
scheduler.add_job(print)
fork(lambda: print(scheduler.add_job(print).id))
print(scheduler.add_job(print).id)
"""
    )
    ids = [line for line in printed if len(line) == 32]
    assert len(set(ids)) == 2
