"""Awaiting on an event loop from threads that have none."""

from __future__ import annotations

import _thread
import asyncio
import sys
import threading
from collections.abc import Awaitable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from apscheduler import _fork

T = TypeVar("T")
Interrupt = KeyboardInterrupt | SystemExit


class CoroutineThread:
    """An event loop in a thread of its own, where other threads let awaitables run.

    The thread is started by the first call, belongs to no executor, and does not keep the
    interpreter from ending. After `close`, the next call starts a new one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: _Line | None = None
        _fork.watch(self)

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
            if line is None or line.ident == threading.get_ident():
                line = _Line()
                self._line = self._line or line
            line.calls += 1
            return line

    def _after_fork(self) -> None:
        if self._line is not None:
            _fork.keep(self._line)
        self._lock = threading.Lock()
        self._line = None


class _Line:
    """One loop with its thread, and how many calls wait for it."""

    loop: asyncio.AbstractEventLoop
    ident: int

    def __init__(self) -> None:
        self.calls = 0
        self._error: BaseException | None = None
        ready = _native("allocate_lock")()
        ready.acquire()
        if _threads_are_greenlets():
            # A loop in a greenlet would pass for that of all others of its thread.
            _native("start_new_thread")(self._serve, (ready,))
        else:
            threading.Thread(
                target=self._serve, args=(ready,), name="APScheduler-coroutines", daemon=True
            ).start()
        ready.acquire()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)

    def _serve(self, ready: _thread.LockType) -> None:
        # All of it here: a loop, or what it is made of, may belong to the thread that made it.
        try:
            runner = asyncio.Runner()
            self.loop = runner.get_loop()
            self.ident = threading.get_ident()
        except BaseException as exc:
            self._error = exc
            return
        finally:
            ready.release()
        with runner:
            while True:
                try:
                    self.loop.run_forever()
                    return
                except (KeyboardInterrupt, SystemExit):
                    # Raised in a task that a job has left behind. Others are still running here.
                    continue


def _threads_are_greenlets() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("threading")


def _native(name: str) -> Any:
    """Return what the operating system's threads have by that name in ``_thread``."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(_thread, name) if monkey is None else monkey.get_original("_thread", name)


def await_on(loop: asyncio.AbstractEventLoop, awaitable: Awaitable[Any]) -> Any:
    """Wait in this thread for an awaitable that runs on a loop of another thread.

    :raises TypeError: if it cannot be awaited on that loop
    """
    future = asyncio.run_coroutine_threadsafe(_settle(awaitable), loop)
    try:
        result, interrupt = _result_of(future)
    except BaseException:
        future.cancel()
        raise
    if interrupt is not None:
        raise interrupt
    return result


def _result_of(future: Future[T]) -> T:
    if "gevent.hub" in sys.modules:
        from apscheduler.executors._greenlets import result_of

        return result_of(future)
    return future.result()


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


#: For jobs that run without a scheduler in reach, such as those in a worker process.
PROCESS_COROUTINES: Final = CoroutineThread()
