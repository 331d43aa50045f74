"""Waiting where greenlets run: only the one that waits may stand still, not its whole thread."""

from __future__ import annotations

from _thread import LockType
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

try:
    from gevent import Greenlet, GreenletExit, get_hub, getcurrent, joinall, sleep, spawn
    from gevent._hub_local import get_hub_if_exists
    from gevent.event import Event
    from gevent.lock import RLock
    from gevent.monkey import get_original, is_module_patched
    from gevent.threadpool import ThreadPool
except ImportError as exc:
    raise ImportError(
        "gevent is needed for this, and is not installed: pip install apscheduler[gevent]",
        name=exc.name,
        path=exc.path,
    ) from exc

# The one place that imports gevent, and says what to do if that cannot be done.
__all__ = (
    "Event",
    "Greenlet",
    "GreenletExit",
    "RLock",
    "call_aside",
    "call_in",
    "get_hub",
    "getcurrent",
    "is_here",
    "joinall",
    "post",
    "result_of",
    "sleep",
    "spawn",
)

P = ParamSpec("P")
T = TypeVar("T")

#: Of the operating system's threads, whatever gevent has put in their place.
get_native_ident: Callable[[], int] = get_original("_thread", "get_ident")
new_native_lock: Callable[[], LockType] = get_original("_thread", "allocate_lock")
start_native_thread: Callable[..., int] = get_original("_thread", "start_new_thread")


def threads_are_greenlets() -> bool:
    """Tell whether the standard library's threads have been made greenlets."""
    return bool(is_module_patched("threading"))


def is_here(hub: Any) -> bool:
    """Tell whether a hub belongs to the thread of the caller."""
    return bool(hub.thread_ident == get_native_ident())


def post(hub: Any, func: Callable[..., object], *args: Any) -> None:
    """Let a hub call something that does not wait, as soon as it can; from any thread."""
    hub.loop.run_callback_threadsafe(func, *args)


def call_in(hub: Any, func: Callable[[], object]) -> None:
    """Call something in a greenlet of a hub, and wait for it; from any thread."""
    if is_here(hub):
        func()
        return
    done = new_native_lock()
    done.acquire()

    def call() -> None:
        try:
            func()
        finally:
            done.release()

    post(hub, spawn, call)
    done.acquire()


def call_aside(func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call something that waits by the means of `threading`, and let other greenlets go on.

    Where these means have been made gevent's, or this thread has no greenlets, that is no more
    than a call.
    """
    if threads_are_greenlets() or get_hub_if_exists() is None:
        return func(*args, **kwargs)
    # A pool of its own: the hub's may be full of those that are waited for.
    pool = ThreadPool(1)
    try:
        result: T = pool.apply(func, args, kwargs)
        return result
    finally:
        pool.kill()


def result_of(future: Future[T]) -> T:
    """Return or raise what a future of another thread comes to, and let other greenlets go on."""
    hub = get_hub_if_exists()
    if hub is None:
        return future.result()
    done = Event()
    # Unlike `post`, this also tells the hub that there is something to wait for.
    watcher = hub.loop.async_()
    watcher.start(done.set)
    try:
        future.add_done_callback(lambda _: watcher.send())
        done.wait()
    finally:
        watcher.stop()
    return future.result()
