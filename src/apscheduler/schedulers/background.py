"""A scheduler in a thread of its own."""

from __future__ import annotations

from threading import Thread, current_thread
from typing import Any

from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.util import asbool


class BackgroundScheduler(BlockingScheduler):
    """Runs in a thread of its own, beside the program.

    Takes the options of `BaseScheduler`, and:

    :param daemon: whether the thread may be left behind when the program ends; true by default
    """

    _thread: Thread | None = None

    def _configure(self, config: dict[str, Any]) -> None:
        daemon = asbool(config.pop("daemon", True))
        super()._configure(config)
        self._daemon = daemon

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Start, and return.

        :param paused: if true, run no job until `resume` is called
        """
        self._renew_event()
        event = self._event
        BaseScheduler.start(self, *args, **kwargs)
        # A listener may have shut it down meanwhile, and started it anew.
        if self._event is event and self.running:
            thread = Thread(target=self._main_loop, name="APScheduler", daemon=self._daemon)
            try:
                thread.start()
            except BaseException:
                BaseScheduler.shutdown(self, wait=False)
                raise
            self._thread = thread

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> None:
        super().shutdown(wait, timeout)
        thread, self._thread = self._thread, None
        # A job or listener in that very thread ends it by returning.
        if thread is not None and thread is not current_thread():
            thread.join()

    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()
