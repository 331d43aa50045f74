"""Children of every kind, of a scheduler at work: none hangs, and the parent goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("not hasattr(__import__('os'), 'fork')", reason="there are no forks"),
]

Run = Callable[[str], list[str]]


def test_of_fifty_forks_under_load_none_hangs_and_no_run_is_lost_or_doubled(run: Run) -> None:
    (line,) = run(
        """
be_quiet()
scheduler = BackgroundScheduler(timezone="UTC", executors={"default": {"type": "threadpool"}})
fired = []

def fire():
    fired.append(os.getpid())

for number in range(20):
    scheduler.add_job(fire, "interval", seconds=0.02, id=str(number), misfire_grace_time=None)
scheduler.start()
codes = []
for number in range(50):
    codes.append(fork(lambda: (scheduler.get_jobs(), scheduler.shutdown())))
before = len(fired)
while len(fired) < before + 100:
    time.sleep(0.01)
scheduler.shutdown()
print(set(codes), set(fired) == {os.getpid()}, len(scheduler.get_runs(state="running")))
"""
    )
    assert line == "{0} True 0"


def test_in_forks_under_load_the_scheduler_can_be_started(run: Run) -> None:
    (line,) = run(
        """
be_quiet()
scheduler = BackgroundScheduler(timezone="UTC", executors={"default": {"type": "threadpool"}})
fired = threading.Semaphore(0)
for number in range(20):
    scheduler.add_job(fired.release, "interval", seconds=0.02, misfire_grace_time=None)
scheduler.start()

def child():
    while fired.acquire(blocking=False):
        pass
    scheduler.start()
    for _ in range(30):
        assert fired.acquire(timeout=PATIENCE)
    scheduler.shutdown()

print({fork(child) for _ in range(10)})
scheduler.shutdown()
"""
    )
    assert line == "{0}"


MAIN = """
import multiprocessing
from forking_jobs import *
scheduler = None

def main():
    global scheduler
    be_quiet()
    scheduler = BackgroundScheduler(timezone="UTC", executors={
        "default": {"type": "threadpool"},
        "spawned": {"type": "processpool", "max_workers": 1},
        "forked": {"type": "processpool", "max_workers": 1,
            "pool_kwargs": {"mp_context": multiprocessing.get_context("fork")}},
    })
    ended = []
    heard = threading.Semaphore(0)
    scheduler.add_listener(
        lambda event: (ended.append(getattr(event, "retval", event)), heard.release()),
        EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    scheduler.start()

    def result(func, *args, **options):
        scheduler.add_job(func, args=args, misfire_grace_time=None, **options)
        assert heard.acquire(timeout=PATIENCE)
        return ended.pop()

"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_end_as_they_should_wherever_they_are_started(
    run: Run, method: str
) -> None:
    printed = run(
        MAIN
        + f"""
    print("main", child_by({method!r}))
    print("job", result(child_by, {method!r}))
    print("again", result(child_by, {method!r}))
    scheduler.shutdown()

if __name__ == "__main__":
    main()
"""
    )
    has = "a child has False" if method == "fork" else "a child has None"
    assert printed == [has, "main 3", has, "job 3", has, "again 3"]


def test_a_child_that_a_job_forks_and_leaves_to_itself_ends_with_the_job(run: Run) -> None:
    printed = run(
        MAIN
        + """
    def forking():
        sys.stdout.flush()
        with held([scheduler._executors["default"]._works._lock]):
            pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        signal.alarm(PATIENCE)
        return "the child's"

    print(result(forking), result(pid) == os.getpid())
    scheduler.shutdown()
    print(len(ended))

import signal
main()
"""
    )
    assert printed == ["0 True", "0"]


def test_a_child_that_is_forked_in_a_turn_comes_out_of_start(run: Run) -> None:
    assert run(
        """
be_quiet()
scheduler = BlockingScheduler(timezone="UTC", executors={"default": {"type": "debug"}})
ran = []

def forking():
    pid = os.fork()
    ran.append("forking")
    if pid:
        print("parent waited for", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)

def last():
    ran.append("last")
    scheduler.shutdown()

now = __import__("datetime").datetime.now()
scheduler.add_job(forking, run_date=now, misfire_grace_time=None)
scheduler.add_job(last, run_date=now, misfire_grace_time=None, id="zzz")
scheduler.start()
print(ran, flush=True)
"""
    ) == ["['forking']", "parent waited for 0", "['forking', 'last']"]


@pytest.mark.parametrize("executor", ["spawned", "forked"])
def test_a_process_pool_and_its_copy_in_a_fork_do_not_touch_each_other(
    run: Run, executor: str
) -> None:
    printed = run(
        MAIN
        + f"""
    first = result(pid, executor={executor!r})

    def child():
        scheduler.start()
        mine = result(pid, executor={executor!r})
        print(mine not in (first, os.getpid(), os.getppid()), flush=True)
        scheduler.shutdown()

    print(fork(child), fork(lambda: None), fork(scheduler.shutdown), fork(lambda: os._exit(5)))
    print(result(pid, executor={executor!r}) == first)
    scheduler.shutdown()
    print(multiprocessing.active_children())

if __name__ == "__main__":
    main()
"""
    )
    assert printed == ["True", "0 0 0 5", "True", "[]"]


def test_a_job_in_a_forked_worker_process_has_a_scheduler_that_is_stopped(run: Run) -> None:
    assert run(
        MAIN
        + """
    print(result(running, executor="forked"))
    scheduler.shutdown()

def running():
    return scheduler.running

main()
"""
    ) == ["False"]
