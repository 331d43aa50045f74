"""In a fork of a process whose scheduler lives in the event loop of a framework."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("not hasattr(__import__('os'), 'fork')", reason="there are no forks"),
]

Run = Callable[[str], list[str]]

# Each says how the scheduler is started, and how to wait for an event while its loop goes on.
TORNADO = """
from apscheduler.schedulers.tornado import TornadoScheduler
scheduler = TornadoScheduler(timezone="UTC")

def start():
    in_thread_loop(scheduler)

def wait(event, seconds=PATIENCE):
    return event.wait(seconds)
"""
TWISTED = """
from twisted.internet import reactor
from apscheduler.schedulers.twisted import TwistedScheduler
scheduler = TwistedScheduler(timezone="UTC")

def start():
    scheduler.start()
    signals = {"installSignalHandlers": False}
    threading.Thread(target=reactor.run, kwargs=signals, daemon=True).start()

def wait(event, seconds=PATIENCE):
    return event.wait(seconds)
"""
QT = """
from PySide6.QtCore import QCoreApplication
from apscheduler.schedulers.qt import QtScheduler
application = QCoreApplication([])
scheduler = QtScheduler(timezone="UTC")

def start():
    scheduler.start()

def wait(event, seconds=PATIENCE):
    until = time.monotonic() + seconds
    while not event.wait(0.002) and time.monotonic() < until:
        application.processEvents()
    return event.is_set()
"""
TICKING = """
log_to_stdout(logging.WARNING)
ticked = threading.Event()
scheduler.add_job(ticked.set, "interval", seconds=0.05, id="tick", misfire_grace_time=None)
start()
assert wait(ticked)
"""


@pytest.mark.parametrize("host", [TORNADO, TWISTED, QT], ids=["tornado", "twisted", "qt"])
def test_the_scheduler_is_stopped_in_the_fork_and_goes_on_in_the_parent(
    run: Run, host: str
) -> None:
    stopped, said, *rest = run(
        host
        + TICKING
        + """
def child():
    print(scheduler.running)
    print(len(scheduler.get_jobs()))
    ticked.clear()
    print(wait(ticked, 0.2))
    scheduler.shutdown()

print(fork(child), scheduler.running)
ticked.clear()
print(wait(ticked))
scheduler.shutdown()
sys.stdout.flush()
os._exit(0)
"""
    )
    assert stopped == "False"
    assert said.startswith("WARNING This scheduler was running in process ")
    assert rest == ["1", "False", "0 True", "True"]


@pytest.mark.parametrize("host", [TORNADO, QT], ids=["tornado", "qt"])
def test_a_scheduler_that_is_started_in_the_fork_runs_there(run: Run, host: str) -> None:
    assert run(
        host
        + TICKING
        + """
def child():
    ticked.clear()
    start()
    print(wait(ticked), scheduler.running)
    scheduler.shutdown()

print(fork(child))
ticked.clear()
print(wait(ticked))
scheduler.shutdown()
"""
    ) == ["True True", "0", "True"]
