"""Awaiting on an event loop from threads that have none."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable
from typing import Any, Final
from weakref import WeakSet

Interrupt = KeyboardInterrupt | SystemExit


class CoroutineThread:
    """An event loop in a thread of its own, where other threads let awaitables run.

    The thread is started by the first call, belongs to no executor, and does not keep the
    interpreter from ending. After `close`, the next call starts a new one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: _Line | None = None
        _coroutine_threads.add(self)

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """Wait until ``awaitable`` is done, and return its value or raise its exception.

        It sees the context variables of the caller.

        :raises TypeError: if it belongs to another event loop, or to no asyncio loop at all
        """
        line = self._take_line()
        try:
            return await_on(line.loop, awaitable)
        finally:
            with self._lock:
                line.calls -= 1
                if line is not self._line and not line.calls:
                    line.stop()

    def close(self) -> None:
        """Let the thread end when the last call in it has ended; return at once."""
        with self._lock:
            line, self._line = self._line, None
            if line is not None and not line.calls:
                line.stop()

    def _take_line(self) -> _Line:
        with self._lock:
            line = self._line
            # A coroutine that runs another one in line would wait for its own thread for ever,
            # so that one gets a thread of its own.
            if line is None or line.thread is threading.current_thread():
                line = _Line()
                self._line = self._line or line
            line.calls += 1
            return line

    def _forget(self) -> None:
        if self._line is not None:
            # Not collected either: closing a loop also changes what parent and child share.
            _inherited.append(self._line)
        self._lock = threading.Lock()
        self._line = None


class _Line:
    """One loop with its thread, and how many calls wait for it."""

    def __init__(self) -> None:
        self.calls = 0
        self._runner = asyncio.Runner()
        self.loop = self._runner.get_loop()
        self.thread = threading.Thread(
            target=self._serve, name="APScheduler-coroutines", daemon=True
        )
        try:
            self.thread.start()
        except BaseException:
            self._runner.close()
            raise

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)

    def _serve(self) -> None:
        with self._runner:
            while True:
                try:
                    self.loop.run_forever()
                    return
                except (KeyboardInterrupt, SystemExit):
                    # Raised in a task that a job has left behind. Others are still running here.
                    continue


def await_on(loop: asyncio.AbstractEventLoop, awaitable: Awaitable[Any]) -> Any:
    """Wait in this thread for an awaitable that runs on a loop of another thread.

    :raises TypeError: if it cannot be awaited on that loop
    """
    future = asyncio.run_coroutine_threadsafe(_settle(awaitable), loop)
    try:
        result, interrupt = future.result()
    except BaseException:
        future.cancel()
        raise
    if interrupt is not None:
        raise interrupt
    return result


async def _settle(awaitable: Awaitable[Any]) -> tuple[Any, Interrupt | None]:
    try:
        return await awaitable, None
    except (KeyboardInterrupt, SystemExit) as exc:
        # Out of a task these would end the loop.
        return None, exc
    except RuntimeError as exc:
        # asyncio has no type of its own for these two.
        if "got bad yield" in str(exc) or "attached to a different loop" in str(exc):
            raise TypeError(
                f"the awaitable {awaitable!r} cannot be awaited on the event loop of the "
                f"scheduler, because it belongs to another event loop or framework: {exc}"
            ) from exc
        raise


def _after_fork_in_child() -> None:
    for thread in list(_coroutine_threads):
        thread._forget()


_coroutine_threads: WeakSet[CoroutineThread] = WeakSet()
_inherited: Final[list[_Line]] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

#: For jobs that run without a scheduler in reach, such as those in a worker process.
PROCESS_COROUTINES: Final = CoroutineThread()
