"""A scheduler on a Qt event loop, in a process that has said which binding it tests."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from importlib import import_module
from queue import SimpleQueue
from typing import Any

from host_kit import PATIENCE, Host

from apscheduler.schedulers.qt import QtScheduler

QtCore: Any = import_module(f"{os.environ['APSCHEDULER_TEST_QT']}.QtCore")
APPLICATION = QtCore.QCoreApplication.instance() or QtCore.QCoreApplication([])
CALL: Any = QtCore.QEvent.Type.User


class Inbox(QtCore.QObject):
    """Calls what it is sent, in the thread that has made it."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: deque[Callable[[], Any]] = deque()

    def send(self, call: Callable[[], Any]) -> None:
        self._calls.append(call)
        QtCore.QCoreApplication.postEvent(self, QtCore.QEvent(CALL))

    def event(self, event: Any) -> bool:
        if event.type() == CALL:
            self._calls.popleft()()
            return True
        return bool(super().event(event))


class QtHost(Host):
    """Has an event loop in a thread of the test."""

    def __init__(self, **options: Any) -> None:
        super().__init__(QtScheduler, **options)
        inboxes: SimpleQueue[tuple[Inbox, Any]] = SimpleQueue()

        def serve() -> None:
            loop = QtCore.QEventLoop()
            inboxes.put((Inbox(), loop))
            loop.exec()

        self._thread = threading.Thread(target=serve, name="qt")
        self._thread.start()
        self.inbox, self._loop = inboxes.get(timeout=PATIENCE)

    def on_loop(self, func: Callable[[], Any]) -> Any:
        answers: SimpleQueue[Any] = SimpleQueue()

        def call() -> None:
            try:
                answers.put((func(), None))
            except Exception as exc:
                answers.put((None, exc))

        self.inbox.send(call)
        answer, exc = answers.get(timeout=PATIENCE)
        if exc is not None:
            raise exc
        return answer

    def start(self, **options: Any) -> None:
        self.on_loop(lambda: self.scheduler.start(**options))

    def close(self) -> None:
        super().close()
        self.inbox.send(self._loop.quit)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
