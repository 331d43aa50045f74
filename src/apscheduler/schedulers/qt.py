"""A scheduler on the event loop of Qt, through PySide or PyQt."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from math import ceil
from threading import local
from typing import Any, Final
from weakref import WeakMethod

from apscheduler._fork import keep
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers._timer import TimerScheduler
from apscheduler.schedulers.base import STATE_STOPPED

#: Python packages for Qt, the first that is there is taken.
BINDINGS: Final = tuple(
    f"{maker}{version}" for version, maker in product(range(6, 1, -1), ("PySide", "PyQt"))
)
#: What Qt can count to, in milliseconds.
LONGEST_TIMER: Final = 2_147_483_647
#: Running schedulers, which nobody else might hold on to, by their timers.
_running: Final[dict[Any, QtScheduler]] = {}
_marks: Final = local()


class QtScheduler(TimerScheduler):
    """Runs on the Qt event loop of the thread in which it is started; jobs run in threads.

    If that thread has no Qt event loop, it runs on the one of the application. Of PySide and PyQt
    it takes the one that the program has imported; if there is none yet, the first that can be
    imported of PySide6, PyQt6, PySide5, and so on down. Takes the options of `BaseScheduler`.
    """

    _timer: Any = None
    _home_thread: object | None = None

    def start(self, paused: bool = False, role: str = "scheduler") -> None:
        """Start, and return; jobs run as soon as the event loop does.

        :param paused: if true, run no job until `resume` is called
        :param role: see `BaseScheduler.start`
        :raises ImportError: if neither PySide nor PyQt can be imported
        """
        moved = self._timer is None or self._home_thread is not _this_thread()
        if moved and self.state == STATE_STOPPED:
            self._timer, self._home_thread = self._new_timer()
        super().start(paused, role)
        # A listener may have shut it down meanwhile.
        if self.running:
            _running[self._timer] = self

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> None:
        super().shutdown(wait, timeout)
        _running.pop(self._timer, None)
        if self._home_thread is _this_thread():
            self._stop_timer()
        elif self._is_alive():
            self._call_on_host(self._stop_timer)

    def _new_timer(self) -> tuple[Any, object | None]:
        """Return a timer, and the thread to which it belongs; None if that is not this one."""
        qt = _load()
        timer = _timer_class(qt)(self._timer_fired)
        timer.setSingleShot(True)
        timer.setTimerType(qt.Qt.TimerType.PreciseTimer)
        application = qt.QCoreApplication.instance()
        if application is None or qt.QAbstractEventDispatcher.instance() is not None:
            return timer, _this_thread()
        timer.moveToThread(application.thread())
        return timer, None

    def _is_alive(self) -> bool:
        return self._timer is not None and not self._timer.qt.QCoreApplication.closingDown()

    def _call_on_host(self, call: Callable[[], object]) -> None:
        self._timer.call(call)

    def _set_timer(self, seconds: float) -> None:
        self._timer.start(min(ceil(seconds * 1000), LONGEST_TIMER))

    def _stop_timer(self) -> None:
        # In a fork whose event loop goes on, that of the parent may fire once more.
        if self._timer is not None:
            self._timer.stop()

    def _after_fork(self) -> None:
        super()._after_fork()
        keep(self._timer)
        self._timer = None

    def _create_default_executor(self) -> BaseExecutor:
        from apscheduler.executors.pool import ThreadPoolExecutor

        return ThreadPoolExecutor(10)


def _this_thread() -> object:
    """Return what stands for this thread alone; numbers are given again to new ones."""
    mark: object = _marks.__dict__.setdefault("mark", object())
    return mark


@cache
def _timer_class(qt: Any) -> Any:
    """Return a class of timers that can also be called from any thread."""
    called = qt.QEvent.Type.User

    class Timer(qt.QTimer):  # type: ignore[misc]
        """Needs no signals: those to functions run in a thread that depends on the binding."""

        def __init__(self, fired: Callable[[], None]) -> None:
            super().__init__()
            self.qt = qt
            # Weakly, so that a timer keeps no scheduler alive.
            self._fired = WeakMethod(fired)
            self._calls: deque[Callable[[], object]] = deque()

        def call(self, call: Callable[[], object]) -> None:
            self._calls.append(call)
            qt.QCoreApplication.postEvent(self, qt.QEvent(called))

        def event(self, event: Any) -> bool:
            if event.type() == called:
                self._calls.popleft()()
                return True
            return bool(super().event(event))

        def timerEvent(self, event: Any) -> None:
            super().timerEvent(event)
            fired = self._fired()
            if fired is not None:
                fired()

    return Timer


def _load() -> Any:
    """Return the module QtCore of a binding.

    :raises ImportError: if there is none
    """
    loaded = [name for name in BINDINGS if sys.modules.get(f"{name}.QtCore") is not None]
    # That of the program: with another one there would be a second Qt, whose loop nobody runs.
    for name in sorted(loaded, key=_has_no_application):
        return sys.modules[f"{name}.QtCore"]
    for name in BINDINGS:
        try:
            return import_module(f"{name}.QtCore")
        except ImportError:
            continue
    raise ImportError("QtScheduler needs one of PySide6, PyQt6, PySide2 and PyQt5")


def _has_no_application(name: str) -> bool:
    return sys.modules[f"{name}.QtCore"].QCoreApplication.instance() is None


def _is_there(name: str) -> bool:
    """Tell whether a binding is installed, without the import of what may be a second Qt."""
    try:
        return f"{name}.QtCore" in sys.modules or find_spec(f"{name}.QtCore") is not None
    except (ImportError, ValueError):
        return False


if not any(map(_is_there, BINDINGS)):
    _load()
