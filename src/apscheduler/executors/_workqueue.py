"""Works that wait for the threads of a pool."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, CancelledError, Future
from concurrent.futures import thread as pools
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final

from apscheduler.clock import monotonic
from apscheduler.executors.base import Load, ShuttingDownError, Work
from apscheduler.runs import Outcome, Run

#: For how many seconds a thread that has run out of Works waits for the next: to be woken costs
#: it much less than to be given a new drainer.
LINGER: Final = 0.05
#: What `WorkQueue.room` looks ahead, in seconds.
HORIZON: Final = 1.0


class WorkQueue:
    """Hands Works to the threads of a pool, without a Future for each.

    A Future costs more than many a job. So the pool is given *drainers*, at most one for each
    of its threads, and each drainer takes Works until there are none, and for a moment longer.
    Threads, their number and the end of the interpreter remain the business of the pool.

    At most one drainer is *called* at a time. When it has come, and there is more to do than it
    can take, it calls the next. So a few short jobs are run by one thread, without ten of them
    contending for the interpreter; and where a job blocks, the next thread is there in as long as
    it takes to wake it.

    :param size: number of threads
    :param submit: submits a drainer to the pool
    :param call: runs the job of a Work for one Run; must not raise
    :param refuse: reports a Work that the pool has dropped
    """

    def __init__(
        self,
        size: int,
        submit: Callable[[Callable[[], None]], Future[None]],
        call: Callable[[Work, Run], Outcome],
        refuse: Callable[[Work, BaseException], None],
    ) -> None:
        self._size = size
        self._submit = submit
        self._call = call
        self._refuse = refuse
        self._works: deque[Work] = deque()
        # Where idle drainers wait until they are called, or sent home (False).
        self._mailboxes: list[SimpleQueue[bool]] = []
        self._is_one_coming = False
        # Held whenever a drainer is counted, so that none leaves while a Work is being put.
        self._lock = threading.Lock()
        self._drainers = 0
        self.closed = False
        # In seconds: a moving average, and when a thread last took something up.
        self._average = HORIZON
        self._taken_at = 0.0

    def put(self, work: Work) -> None:
        """Let a thread take ``work`` as soon as one is free; raises what `put_all` raises."""
        self.put_all((work,))

    def put_all(self, works: Iterable[Work]) -> None:
        """Let threads take ``works`` as soon as they are free: all of them, or none if it raises.

        :raises ShuttingDownError: if the pool takes no more work
        :raises BrokenExecutor: if the pool cannot start its threads
        """
        drainer = None
        with self._lock:
            if self.closed:
                raise ShuttingDownError("cannot schedule new futures after shutdown")
            if getattr(pools, "_shutdown", False):
                # Pools take no more drainers. The interpreter waits for those there are, and with
                # ever more to do they would not end.
                message = "cannot schedule new futures after interpreter shutdown"
                raise ShuttingDownError(message, interpreter=True)
            if not self._is_one_coming:
                try:
                    drainer = self._call_one()
                except ShuttingDownError:
                    raise
                except Exception:
                    # It cannot start another thread, but those who are there will come to it.
                    if not self._drainers:
                        raise
            self._works.extend(works)
        if drainer is not None:
            drainer.add_done_callback(self._drainer_ended)

    def close(self) -> None:
        """Take no more Works; those that were taken are run."""
        with self._lock:
            self.closed = True
            while self._mailboxes:
                self._mailboxes.pop().put(False)

    def after_fork(self) -> None:
        """Let go, in a child process, of Works and drainers: they are the parent's."""
        self._lock = threading.Lock()
        self.closed = True
        self._works.clear()
        self._mailboxes.clear()

    def load(self) -> Load:
        """Return how busy the threads are."""
        return Load(self._size, self._drainers - len(self._mailboxes), len(self._works))

    def room(self) -> int:
        """Return how many more Works can start within the next second.

        That is the idle threads, and what all threads get through in a second at their recent
        pace (at first a Work is taken to last a second; while all are busy, as long as it has
        been since one of them took anything up), less what waits already.
        """
        pace = max(self._average, HORIZON / 1_000)
        idle = self._size - self._drainers + len(self._mailboxes)
        if idle <= 0:
            pace = max(pace, monotonic() - self._taken_at)
        return max(0, idle + int(self._size * HORIZON / pace) - len(self._works))

    def _call_one(self) -> Future[None] | None:
        """Call an idle drainer, or a new one, which is returned; the lock is held."""
        drainer = None
        if self._mailboxes:
            self._mailboxes.pop().put(True)
        elif self._drainers < self._size:
            drainer = self._submit_drainer()
            self._drainers += 1
        else:
            return None
        self._is_one_coming = True
        return drainer

    def _submit_drainer(self) -> Future[None]:
        counted = [True]
        try:
            return self._submit(partial(self._drain, counted))
        except BrokenExecutor:
            raise
        except RuntimeError as exc:
            # The pool has no type of its own for "after shutdown" and "at interpreter shutdown".
            if "shutdown" in str(exc):
                raise ShuttingDownError(str(exc), "interpreter" in str(exc)) from exc
            # A pool that cannot start a thread has put it in its queue before.
            counted.clear()
            raise

    def _drain(self, counted: list[bool]) -> None:
        if not counted:
            with self._lock:
                self._drainers += 1
        mailbox: SimpleQueue[bool] = SimpleQueue()
        work = self._come() or self._linger(mailbox)
        while work is not None:
            self._run(work)
            del work  # An idle thread keeps nothing alive.
            try:
                work = self._works.popleft()
            except IndexError:
                work = self._linger(mailbox)

    def _come(self) -> Work | None:
        """Take a Work, if there is one still, as the drainer that was called; call the next."""
        drainer = None
        with self._lock:
            self._is_one_coming = False
            if not self._works:
                return None
            work = self._works.popleft()
            if self._works:
                try:
                    drainer = self._call_one()
                except Exception:
                    pass  # The pool is shutting down. Those who are there do all there is to do.
        if drainer is not None:
            drainer.add_done_callback(self._drainer_ended)
        return work

    def _run(self, work: Work) -> None:
        self._taken_at = taken_at = monotonic()
        for run in work.runs:
            started = work.begin(run)
            if started is not None:
                work.finish(started, self._call(work, started))
        self._average += (monotonic() - taken_at - self._average) / 8

    def _linger(self, mailbox: SimpleQueue[bool]) -> Work | None:
        """Wait a moment for one more Work; None if there is none, and the drainer is to end."""
        while True:
            with self._lock:
                if self._works:
                    return self._works.popleft()
                if self.closed:
                    self._drainers -= 1
                    return None
                self._mailboxes.append(mailbox)
            try:
                called = mailbox.get(timeout=LINGER)
            except Empty:
                with self._lock:
                    if mailbox in self._mailboxes:
                        self._mailboxes.remove(mailbox)
                        self._drainers -= 1
                        return None
                # In the last moment it was called.
                called = mailbox.get()
            if called and (work := self._come()) is not None:
                return work

    def _drainer_ended(self, drainer: Future[None]) -> None:
        cause = CancelledError() if drainer.cancelled() else drainer.exception()
        if cause is None:
            return
        # The pool has dropped it, and so it has not counted itself out.
        with self._lock:
            self._drainers -= 1
            self._is_one_coming = False
            orphans = [] if self._drainers else list(self._works)
            if orphans:
                self._works.clear()
        for work in orphans:
            self._refuse(work, cause)
