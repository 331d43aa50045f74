"""A scheduler in a thread of its own."""

from __future__ import annotations

import threading
from functools import cache
from threading import Thread, current_thread
from typing import Any, Final
from weakref import WeakSet

from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.util import asbool


class BackgroundScheduler(BlockingScheduler):
    """Runs in a thread of its own, beside the program.

    Takes the options of `BaseScheduler`, and:

    :param daemon: whether the thread may be left behind when the program ends; true by default.
        If it is false, the program goes on, and jobs are run, until `shutdown` is called
    """

    _thread: Thread | None = None

    def _configure(self, config: dict[str, Any]) -> None:
        daemon = asbool(config.pop("daemon", True))
        super()._configure(config)
        self._daemon = daemon

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Start, and return.

        :param paused: if true, run no job until `resume` is called
        :param role: see `BaseScheduler.start`
        """
        self._renew_event()
        event = self._event
        BaseScheduler.start(self, *args, **kwargs)
        # A listener may have shut it down meanwhile, and started it anew.
        if self._event is event and self.running and not self._loop.company.is_client:
            thread = Thread(target=self._main_loop, name="APScheduler", daemon=self._daemon)
            try:
                thread.start()
            except BaseException:
                BaseScheduler.shutdown(self, wait=False)
                raise
            self._thread = thread
            if not self._daemon:
                _let_end_wait_for(thread)

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> None:
        super().shutdown(wait, timeout)
        thread, self._thread = self._thread, None
        # A job or listener in that very thread ends it by returning.
        if thread is not None and thread is not current_thread():
            thread.join()

    def _after_fork(self) -> None:
        super()._after_fork()
        self._thread = None

    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()


_awaited: Final[WeakSet[Thread]] = WeakSet()


def _let_end_wait_for(thread: Thread) -> None:
    """Let thread pools go on while a thread runs that keeps the program from ending.

    They close when the main thread has ended, and not with the last thread: what a scheduler
    then submitted would be refused, and it would go on to no purpose.
    """
    _awaited.add(thread)
    _be_called_at_end()


@cache
def _be_called_at_end() -> None:
    # What is registered first is called last.
    import concurrent.futures.thread  # noqa: F401

    register = getattr(threading, "_register_atexit", None)
    try:
        if register is not None:
            register(_wait_for_threads)
    except RuntimeError:
        pass  # The end has begun.


def _wait_for_threads() -> None:
    while running := [thread for thread in _awaited if thread.is_alive()]:
        running[0].join()
