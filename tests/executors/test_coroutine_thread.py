"""Awaiting in threads that have no event loop."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from executor_kit import PATIENCE

from apscheduler.executors._coroutines import CoroutineThread

color: contextvars.ContextVar[str] = contextvars.ContextVar("color", default="none")


@pytest.fixture
def coroutines() -> Iterator[CoroutineThread]:
    thread = CoroutineThread()
    yield thread
    thread.close()


async def where() -> threading.Thread:
    return threading.current_thread()


def test_it_awaits_in_a_daemon_thread_that_is_kept(coroutines: CoroutineThread) -> None:
    thread = coroutines.run(where())
    assert thread is not threading.current_thread()
    assert thread.daemon
    assert coroutines.run(where()) is thread


def test_an_exception_is_raised_where_it_was_called(coroutines: CoroutineThread) -> None:
    async def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        coroutines.run(fail())


def test_context_variables_of_the_caller_are_seen(coroutines: CoroutineThread) -> None:
    async def look() -> str:
        return color.get()

    token = color.set("red")
    try:
        assert coroutines.run(look()) == "red"
    finally:
        color.reset(token)
    assert coroutines.run(look()) == "none"


def test_calls_of_several_threads_run_at_the_same_time(coroutines: CoroutineThread) -> None:
    met = threading.Barrier(2, timeout=PATIENCE)

    async def meet() -> int:
        return await asyncio.get_running_loop().run_in_executor(None, met.wait)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lambda _: coroutines.run(meet()), range(2))) == [0, 1]


def test_close_lets_the_thread_end_when_its_last_call_has(coroutines: CoroutineThread) -> None:
    begun, go_on = threading.Event(), threading.Event()

    async def wait() -> threading.Thread:
        begun.set()
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait, PATIENCE)
        return threading.current_thread()

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(coroutines.run, wait())
        assert begun.wait(PATIENCE)
        coroutines.close()
        go_on.set()
        thread = result.result(PATIENCE)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_it_can_be_used_again_after_close(coroutines: CoroutineThread) -> None:
    first = coroutines.run(where())
    coroutines.close()
    coroutines.close()
    second = coroutines.run(where())
    first.join(PATIENCE)
    assert not first.is_alive()
    assert second.is_alive()


def test_a_coroutine_may_call_it_in_turn(coroutines: CoroutineThread) -> None:
    async def outer() -> tuple[threading.Thread, threading.Thread]:
        return threading.current_thread(), coroutines.run(where())

    thread, inner = coroutines.run(outer())
    assert inner is not thread
    inner.join(PATIENCE)
    assert not inner.is_alive()
    assert coroutines.run(where()) is thread


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_no_exception_ends_the_loop(
    coroutines: CoroutineThread, error: type[BaseException]
) -> None:
    async def leave() -> None:
        raise error

    async def leave_behind() -> None:
        task = asyncio.create_task(leave())
        await asyncio.wait([task])
        task.exception()

    thread = coroutines.run(where())
    with pytest.raises(error):
        coroutines.run(leave())
    coroutines.run(leave_behind())
    assert coroutines.run(where()) is thread


class Alien:
    """Can be awaited, but only where its values mean something."""

    def __await__(self) -> Iterator[Any]:
        yield "something"


def test_what_belongs_elsewhere_is_a_type_error(coroutines: CoroutineThread) -> None:
    async def future_of_this_loop() -> None:
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(TypeError, match="another event loop or framework"):
            await asyncio.to_thread(coroutines.run, future)

    asyncio.run(future_of_this_loop())
    with pytest.raises(TypeError, match="another event loop or framework"):
        coroutines.run(Alien())


def test_a_runtime_error_of_the_coroutine_stays_what_it_is(coroutines: CoroutineThread) -> None:
    async def fail() -> None:
        raise RuntimeError("my own")

    with pytest.raises(RuntimeError, match="my own"):
        coroutines.run(fail())


def test_tasks_left_behind_are_cancelled_at_the_end(coroutines: CoroutineThread) -> None:
    cancelled = threading.Event()

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    tasks = []

    async def leave_behind() -> None:
        tasks.append(asyncio.create_task(linger()))
        await asyncio.sleep(0)

    coroutines.run(leave_behind())
    coroutines.close()
    assert cancelled.wait(PATIENCE)


@pytest.mark.slow
def test_a_fork_gets_a_loop_of_its_own(start_python: Any) -> None:
    program = start_python(
        "-c",
        """
import os, threading
from apscheduler.executors._coroutines import CoroutineThread

async def ident():
    return threading.get_ident(), os.getpid()

coroutines = CoroutineThread()
coroutines.run(ident())
coroutines._lock.acquire()  # as if another thread were just calling
pid = os.fork()
if not pid:
    print("child", coroutines.run(ident())[1] == os.getpid(), flush=True)
    os._exit(0)
coroutines._lock.release()
os.waitpid(pid, 0)
print("parent", coroutines.run(ident())[1] == os.getpid(), flush=True)
""",
    )
    status, printed, errors = program.finish()
    assert (status, printed, errors) == (0, ["child True", "parent True"], "")


def test_a_call_that_is_interrupted_cancels_its_coroutine(coroutines: CoroutineThread) -> None:
    cancelled = threading.Event()
    caller = threading.get_ident()

    async def interrupt_the_caller() -> None:
        try:
            while sys._current_frames()[caller].f_code.co_name != "wait":
                await asyncio.sleep(0)
            signal.pthread_kill(caller, signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(KeyboardInterrupt):
        coroutines.run(interrupt_the_caller())
    assert cancelled.wait(PATIENCE)
