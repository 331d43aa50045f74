"""Worker processes side by side: what kills one costs one call."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from pickle import PicklingError, UnpicklingError
from typing import Any, Final, ParamSpec, TypeVar

from apscheduler._fork import disown_threads

P = ParamSpec("P")
T = TypeVar("T")

#: How often, in seconds, a process that is silent is asked whether it still lives. Its death
#: shows at once in its pipe, unless a process of its own has inherited the other end.
HEARTBEAT: Final = 1.0


class WorkerDiedError(BrokenProcessPool):
    """A worker process ended before it answered; the text says how."""


class ProcessPool(Executor):
    """An executor in which each worker process is driven by a thread of its own.

    A process is started by the first call of its thread and lives as long as the thread does; if
    it dies, that call alone fails, and the next one starts another. So the calls that wait are
    those of the threads, and are made before the interpreter ends.

    :param max_workers: number of processes
    :param mp_context: a multiprocessing context; by default that of the platform
    :param initializer: called at the start of each process; if it fails, so does the call for
        which the process was started
    :param initargs: arguments of ``initializer``
    :param max_tasks_per_child: after how many calls a process is replaced; None for never
    :raises ValueError: if a number is not positive
    """

    def __init__(
        self,
        max_workers: int,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
    ) -> None:
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be a callable, not {initializer!r}")
        if max_tasks_per_child is not None and max_tasks_per_child < 1:
            raise ValueError(f"max_tasks_per_child must be >= 1, not {max_tasks_per_child!r}")
        #: Starts, and is given, what makes the calls.
        self.threads = ThreadPoolExecutor(max_workers, "APScheduler-processes")
        # The names of the standard library's pool, which programs look at.
        self._max_workers = max_workers
        self._mp_context = mp_context or multiprocessing.get_context()
        self._processes: dict[int, BaseProcess] = {}
        self._workers: weakref.WeakSet[_Worker] = weakref.WeakSet()
        self._initializer = initializer
        self._initargs = initargs
        self._max_tasks_per_child = max_tasks_per_child
        self._own = threading.local()
        self._starting = threading.Lock()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``fn`` in a worker process; its future behaves as one of the standard library."""
        return self.threads.submit(self.call, fn, *args, **kwargs)

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``fn`` in the process of this thread, and wait for what it returns or raises.

        :raises WorkerDiedError: if the process ends before that
        :raises PickleError: if the call or the result cannot be sent, or not be read on arrival
        """
        try:
            request = ForkingPickler.dumps((fn, args, kwargs))
        except Exception as exc:
            raise PicklingError(
                f"the call cannot be sent to a worker process: {_text_of(exc)}"
            ) from exc
        worker = self._worker()
        try:
            answer: T = worker.ask(request)
        finally:
            if worker.dead or worker.calls == self._max_tasks_per_child:
                self._retire(worker)
        return answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and let the processes end when the last of them is answered."""
        self.threads.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            for worker in list(self._workers):
                worker.dismiss()
            for process in list(self._processes.values()):
                process.join()
            self._processes.clear()

    def after_fork(self) -> None:
        """Let the end of a child process leave the workers, which are the parent's, alone."""
        disown_threads(self.threads)
        # At its end a process waits for all that it has started, or takes itself to have started.
        listed: set[BaseProcess] = getattr(multiprocessing.process, "_children", set())
        for process in list(self._processes.values()):
            listed.discard(process)

    def _worker(self) -> _Worker:
        worker: _Worker | None = getattr(self._own, "worker", None)
        if worker is not None:
            if worker.is_idle():
                return worker
            self._retire(worker)  # it was killed while it had nothing to do
        worker = self._own.worker = self._start_worker()
        try:
            worker.receive()
        except WorkerDiedError:
            self._retire(worker)
            raise
        except Exception as exc:
            self._retire(worker)
            raise WorkerDiedError(
                f"the initializer of worker process {worker.pid} failed: {_text_of(exc)}"
            ) from exc
        return worker

    def _start_worker(self) -> _Worker:
        # One after the other: no process is to inherit the pipe of another one.
        with self._starting:
            for pid, process in list(self._processes.items()):
                if not process.is_alive():
                    del self._processes[pid]
            worker = _Worker(self._mp_context, self._initializer, self._initargs)
            self._processes[worker.pid] = worker.process
            self._workers.add(worker)
        return worker

    def _retire(self, worker: _Worker) -> None:
        self._own.worker = None
        worker.dismiss()


class _Worker:
    """A process, and this side's end of the pipe to it."""

    def __init__(
        self,
        context: BaseContext,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
    ) -> None:
        self.calls = 0
        self.dead = False
        self._connection, theirs = context.Pipe()
        if os.name == "posix":
            # gevent, when it has patched `socket`, hands out pipes that do not wait.
            os.set_blocking(self._connection.fileno(), True)
            os.set_blocking(theirs.fileno(), True)
        # BaseContext has no type for what each of its subclasses does have.
        self.process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(theirs, initializer, initargs)
        )
        try:
            self.process.start()
        finally:
            theirs.close()
        assert self.process.pid is not None
        self.pid = self.process.pid
        # Called at the latest when the thread, and with it this object, comes to its end.
        self.dismiss = weakref.finalize(self, _dismiss, self._connection, os.getpid())

    def is_idle(self) -> bool:
        """Tell whether the process waits for a request; otherwise it is dead."""
        return self.process.is_alive() and not self._connection.poll()

    def ask(self, request: Any) -> Any:
        """Send a request, and return or raise what the process answers."""
        self.calls += 1
        try:
            self._connection.send_bytes(request)
        except OSError as exc:
            raise self._death() from exc
        return self.receive()

    def receive(self) -> Any:
        """Wait for an answer."""
        connection = self._connection
        try:
            while not connection.poll(HEARTBEAT):
                if not self.process.is_alive() and not connection.poll():
                    raise self._death()
            answer = connection.recv_bytes()
        except (EOFError, OSError) as exc:
            raise self._death() from exc
        try:
            succeeded, result = ForkingPickler.loads(answer)
        except Exception as exc:
            raise UnpicklingError(
                f"the answer of worker process {self.pid} cannot be read: {_text_of(exc)}"
            ) from exc
        if succeeded:
            return result
        raise result

    def _death(self) -> WorkerDiedError:
        self.dead = True
        self.process.join(HEARTBEAT)
        self.process.kill()  # if it has only closed its end of the pipe
        self.process.join()
        return WorkerDiedError(
            f"worker process {self.pid} {_manner_of_death(self.process.exitcode)} before it "
            + ("answered" if self.calls else "was ready")
        )


def _manner_of_death(exitcode: int | None) -> str:
    if exitcode is None:  # somebody else has heard of it
        return "ended"
    if exitcode >= 0:
        return f"ended with exit code {exitcode}"
    try:
        return f"was killed by {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"was killed by signal {-exitcode}"


def _dismiss(connection: Connection, owner: int) -> None:
    """Let a process end after its present call."""
    # Also comes about in a fork of this process, where the threads are gone, but whose copy of
    # the pipe leads to the same worker.
    if os.getpid() == owner:
        try:
            connection.send_bytes(b"")
        except OSError:
            pass  # it has ended
    connection.close()


def portable(exc: BaseException) -> BaseException:
    """Return ``exc`` if it can be sent to another process, else an error that tells of it."""
    try:
        # Many an exception can be written, but not read again.
        ForkingPickler.loads(ForkingPickler.dumps(exc))
    except BaseException:
        return PicklingError(
            f"{_text_of(exc)} (the exception itself cannot be sent back from a worker process)"
        )
    return exc


def _text_of(exc: BaseException) -> str:
    try:
        return f"{type(exc).__qualname__}: {exc}"
    except Exception:  # a user's __str__
        return type(exc).__qualname__


def _serve(
    connection: Connection, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
) -> None:
    """Answer one request after the other; what a worker process does."""
    try:
        # The first answer says that the process is ready.
        answer = _answer(partial(_prepare, initializer, initargs))
        while True:
            # Ctrl-C reaches all processes of a terminal. A job may hear it; what becomes of an
            # idle process is for the scheduler to say.
            on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
            connection.send_bytes(answer)
            request = connection.recv_bytes()
            if not request:
                return
            signal.signal(signal.SIGINT, on_interrupt or signal.SIG_DFL)
            answer = _answer(partial(_call, request))
    except (EOFError, OSError):
        pass  # nobody is there any more to answer to


def _prepare(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
    if initializer is not None:
        initializer(*initargs)


def _call(request: bytes) -> Any:
    try:
        fn, args, kwargs = ForkingPickler.loads(request)
    except Exception as exc:
        raise UnpicklingError(
            f"the call cannot be read in the worker process: {_text_of(exc)}"
        ) from exc
    return fn(*args, **kwargs)


def _answer(call: Callable[[], Any]) -> Any:
    try:
        result = call()
    except BaseException as exc:
        exc.add_note("".join(traceback.format_exception(exc)))
        return ForkingPickler.dumps((False, portable(exc)))
    try:
        return ForkingPickler.dumps((True, result))
    except BaseException as exc:
        error = PicklingError(
            f"the result cannot be sent back from a worker process: {_text_of(exc)}"
        )
        return ForkingPickler.dumps((False, error))
