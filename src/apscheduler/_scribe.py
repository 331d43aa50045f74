"""Writes the ends of Runs into job stores that do I/O: many at a time, in a thread of its own.

What is to be told of them is told by that thread too, with nothing held that others wait for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from threading import Event, Lock, RLock, Thread
from typing import Final, Generic, TypeVar

#: For how many seconds the first of several ends waits for others, so that they share a write.
GATHER: Final = 0.004
#: How many are written at a time.
AT_ONCE: Final = 1_000
#: For how many seconds what is being told in another thread is waited for.
TELL_WITHIN: Final = 5.0
#: Seconds after which an idle thread ends.
LINGER: Final = 5.0

T = TypeVar("T")


class Scribe(Generic[T]):
    """A queue of things to be written, in their order.

    :param write: writes some of them, and returns what is to be told then, if anything; or
        raises: then they stay in the queue
    :param failed: called in the scribe's own thread with what ``write`` raised there. It is for
        others to `flush` then
    """

    def __init__(
        self,
        name: str,
        write: Callable[[list[T]], Callable[[], None] | None],
        failed: Callable[[Exception], object],
    ) -> None:
        self._name = name
        self._write = write
        self._failed = failed
        self._queue: deque[T] = deque()
        self._at_once = AT_ONCE
        # Held while they are written, so that whoever flushes knows that all is written.
        self._writing = Lock()
        # What is to be told. Whoever hears of it may flush, and wait for whatever it likes.
        self._news: deque[Callable[[], None]] = deque()
        self._telling = RLock()
        self._starting = Lock()
        self._thread: Thread | None = None
        self._due = Event()

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._queue))

    def put(self, thing: T) -> None:
        """Write something soon."""
        self._queue.append(thing)
        self._come()

    def _come(self) -> None:
        if not self._due.is_set():
            self._due.set()
            with self._starting:
                if self._thread is None:
                    thread = Thread(target=self._work, name=self._name, daemon=True)
                    try:
                        thread.start()
                    except RuntimeError:
                        return  # The interpreter ends, or has no thread left: others flush.
                    self._thread = thread

    def keep(self, thing: T) -> None:
        """Write something when somebody flushes."""
        self._queue.append(thing)

    def flush(self, tell: bool = False) -> None:
        """Write all there is, in this thread.

        :param tell: whether to tell what is to be told in this thread as well, and wait for what
            another one is telling; if not, it is told in that of the scribe
        """
        self._flush(tell)
        if tell:
            self._tell()

    def _flush(self, tell: bool) -> None:
        if not self._queue and not self._writing.locked():
            return
        with self._writing:
            while self._queue:
                size = min(self._at_once, len(self._queue))
                batch = [self._queue.popleft() for _ in range(size)]
                try:
                    news = self._write(batch)
                except BaseException:
                    # If it is one of them that cannot be written, it is not to stop the others.
                    self._queue.extend(batch)
                    self._at_once = max(1, size // 2)
                    raise
                self._at_once = AT_ONCE
                if news is not None:
                    self._news.append(news)
                    if not tell:
                        self._come()

    def _tell(self) -> None:
        if self._telling.acquire(timeout=TELL_WITHIN):
            try:
                while self._news:
                    self._news.popleft()()
            finally:
                self._telling.release()

    def _work(self) -> None:
        pause = Event()
        while True:
            if not self._due.wait(LINGER):
                with self._starting:
                    if not self._due.is_set():
                        self._thread = None
                        return
            if self._queue:
                pause.wait(GATHER)
            self._due.clear()
            try:
                self.flush(tell=True)
            except Exception as error:
                self._failed(error)
            except BaseException:
                self._thread = None
                raise
