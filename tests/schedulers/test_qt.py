"""The scheduler on Qt, each binding in a process of its own, and which binding it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from apscheduler.schedulers import qt
from programs import Program

HERE = Path(__file__).parent
BINDINGS = ["PySide6", "PyQt6"]
#: What holds for all hosts, and what only for this one.
CHECKS = [
    *("test_life.py", "test_shutdown.py", "test_hosts_under_faults.py", "test_races.py"),
    "qt_checks.py",
]


@pytest.mark.slow
@pytest.mark.parametrize("binding", BINDINGS)
def test_a_scheduler_on_qt_keeps_what_a_host_promises(binding: str) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-X", "faulthandler", "-m", "pytest", "-q", "-k", "qt"),
            *("-p", "no:cacheprovider", "-p", "no:cov", "-p", "no:xdist"),
            *(HERE / name for name in CHECKS),
        ],
        env={**os.environ, "APSCHEDULER_TEST_QT": binding, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout


PROGRAM = """
import sys
from importlib import import_module

from apscheduler.schedulers.qt import QtScheduler
assert not [name for name in sys.modules if name.endswith(".QtCore")]
scheduler = QtScheduler(timezone="UTC")
QtCore = import_module("{binding}.QtCore")
{before}
application = QtCore.QCoreApplication([])
{after}

def job():
    print("ran", flush=True)
    application.quit()

scheduler.add_job(job)
application.exec()
assert isinstance(scheduler._timer, QtCore.QTimer)
print("left running", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("binding", BINDINGS)
def test_a_program_gets_its_own_binding_and_may_end_while_the_scheduler_runs(
    start_python: Callable[..., Program], binding: str, when: str
) -> None:
    parts = {"before": "", "after": "", when: "scheduler.start()"}
    program = PROGRAM.format(binding=binding, **parts)
    status, printed, errors = start_python("-c", program).finish()
    assert (status, printed, errors) == (0, ["ran", "left running"], "")


THREADS = """
import threading
from queue import SimpleQueue

from {binding} import QtCore
from apscheduler.schedulers.qt import QtScheduler

application = QtCore.QCoreApplication([])
scheduler = QtScheduler(timezone="UTC")

def live():
    loop = QtCore.QEventLoop()
    late = QtCore.QTimer()
    late.timeout.connect(loop.quit)
    late.start(2000)
    ran = SimpleQueue()
    scheduler.start()
    scheduler.add_job(ran.put, args=[1])
    look = QtCore.QTimer()
    look.timeout.connect(lambda: ran.empty() or loop.quit())
    look.start(5)
    loop.exec()
    print(ran.qsize(), flush=True)
    scheduler.shutdown()

# Numbers of threads are given again as soon as they are free, to one of these at least.
for _ in range(4):
    thread = threading.Thread(target=live)
    thread.start()
    thread.join()
"""


@pytest.mark.slow
@pytest.mark.parametrize("binding", BINDINGS)
def test_a_thread_with_the_number_of_one_that_has_ended_is_another_thread(
    start_python: Callable[..., Program], binding: str
) -> None:
    status, printed, errors = start_python("-c", THREADS.format(binding=binding)).finish()
    assert (status, printed, errors) == (0, ["1"] * 4, "")


class Bindings:
    """Stands for what is loaded and what could be; says what is taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._modules = monkeypatch
        self.installed: list[str] = []
        for name in qt.BINDINGS:
            monkeypatch.delitem(sys.modules, f"{name}.QtCore", raising=False)
        monkeypatch.setattr(qt, "import_module", self._import)

    def load(self, name: str, application: Any = None) -> None:
        core = SimpleNamespace(
            name=name, QCoreApplication=SimpleNamespace(instance=lambda: application)
        )
        self._modules.setitem(sys.modules, f"{name}.QtCore", core)

    def _import(self, name: str) -> Any:
        if name.partition(".")[0] not in self.installed:
            raise ImportError(name)
        return SimpleNamespace(name=name.partition(".")[0])

    def taken(self) -> Any:
        return qt._load().name


@pytest.fixture
def bindings(monkeypatch: pytest.MonkeyPatch) -> Bindings:
    return Bindings(monkeypatch)


def test_bindings_are_searched_in_the_order_of_3_11(bindings: Bindings) -> None:
    assert " ".join(qt.BINDINGS) == (
        "PySide6 PyQt6 PySide5 PyQt5 PySide4 PyQt4 PySide3 PyQt3 PySide2 PyQt2"
    )
    taken = []
    bindings.installed = list(qt.BINDINGS)
    while bindings.installed:
        taken.append(bindings.taken())
        bindings.installed.remove(taken[-1])
    assert taken == list(qt.BINDINGS)


def test_a_binding_that_the_program_has_loaded_comes_first(bindings: Bindings) -> None:
    bindings.installed = ["PySide6"]
    bindings.load("PyQt5")
    assert bindings.taken() == "PyQt5"
    bindings.load("PyQt6")
    assert bindings.taken() == "PyQt6"


def test_of_several_loaded_ones_that_with_the_application_is_taken(bindings: Bindings) -> None:
    bindings.load("PySide6")
    bindings.load("PyQt6", application=object())
    assert bindings.taken() == "PyQt6"


def test_without_any_binding_the_error_names_those_that_would_do(bindings: Bindings) -> None:
    with pytest.raises(ImportError, match="PySide6, PyQt6, PySide2 and PyQt5"):
        bindings.taken()
