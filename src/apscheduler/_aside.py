"""Waiting for a job store in place of a host that must not be kept waiting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

Then = Callable[[Any, BaseException | None], None]


class Waiter:
    """A thread that makes calls, one after the other, and hands their answers to the host.

    :param call_on_host: calls soon in the thread of the host, and may be called from any thread
    """

    def __init__(self, call_on_host: Callable[[Callable[[], object]], None]) -> None:
        self._call_on_host = call_on_host
        self._calls: SimpleQueue[tuple[Callable[[], Any], Then] | None] = SimpleQueue()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._closed = False

    def __call__(self, call: Callable[[], Any], then: Then) -> None:
        with self._lock:
            closed = self._closed
        if closed:  # What was begun is brought to its end, and there is no host any more.
            then(*_answer_of(call))
            return
        with self._lock:
            if self._thread is None:
                # A daemon: a store that does not answer must not keep the program from ending.
                self._thread = Thread(target=self._work, name="APScheduler-store", daemon=True)
                self._thread.start()
            self._calls.put((call, then))

    def close(self) -> None:
        """End the thread, when it has done what it was asked for."""
        with self._lock:
            self._closed = True
            self._calls.put(None)

    def _work(self) -> None:
        calls = self._calls
        while (asked := calls.get()) is not None:
            call, then = asked
            answer, error = _answer_of(call)
            try:
                self._call_on_host(partial(then, answer, error))
            except Exception:
                # The host is gone; but what the store has done must be gone on with.
                then(answer, error)
            del asked, call, then, answer, error


def _answer_of(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:
        return None, error
