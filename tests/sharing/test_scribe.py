"""Ends of Runs are written many at a time, in order, and none is lost."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, current_thread

import pytest

from apscheduler import _scribe
from apscheduler._scribe import Scribe

PATIENCE = 20


class Book:
    """Where a scribe writes; it may be told to refuse."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[str] = set()
        self.failures: list[Exception] = []
        self.refuses: Callable[[list[int]], bool] = lambda batch: False
        self.full: Event = Event()
        self.wanted = 0
        self.failed = Event()

    @property
    def written(self) -> list[int]:
        return [number for batch in self.batches for number in batch]

    def write(self, batch: list[int]) -> None:
        if self.refuses(batch):
            raise OSError("the book is closed")
        self.batches.append(batch)
        self.threads.add(current_thread().name)
        if len(self.written) >= self.wanted:
            self.full.set()

    def fail(self, error: Exception) -> None:
        self.failures.append(error)
        self.failed.set()


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def scribe(book: Book) -> Scribe[int]:
    return Scribe("a scribe", book.write, book.fail)


def test_things_are_written_in_their_order_by_another_thread(
    book: Book, scribe: Scribe[int]
) -> None:
    book.wanted = 50
    for number in range(50):
        scribe.put(number)
    assert book.full.wait(PATIENCE)
    assert book.written == list(range(50))
    assert book.threads == {"a scribe"}
    assert len(book.batches) < 50


def test_whoever_flushes_knows_that_all_is_written(book: Book, scribe: Scribe[int]) -> None:
    for number in range(2_500):
        scribe.keep(number)
    scribe.flush()
    assert book.written == list(range(2_500))
    assert [len(batch) for batch in book.batches] == [1_000, 1_000, 500]
    assert list(scribe) == []


def test_a_flush_waits_for_what_is_just_being_written(book: Book, scribe: Scribe[int]) -> None:
    began, may_go_on = Event(), Event()
    write = book.write

    def slowly(batch: list[int]) -> None:
        began.set()
        assert may_go_on.wait(PATIENCE)
        write(batch)

    scribe = Scribe("a scribe", slowly, book.fail)
    scribe.put(1)
    assert began.wait(PATIENCE)
    may_go_on.set()
    scribe.flush()
    assert book.written == [1]


def test_what_cannot_be_written_stays_and_is_written_when_somebody_flushes(
    book: Book, scribe: Scribe[int]
) -> None:
    book.refuses = lambda batch: True
    scribe.put(1)
    assert book.failed.wait(PATIENCE)
    assert [str(error) for error in book.failures] == ["the book is closed"]
    assert list(scribe) == [1]
    with pytest.raises(OSError, match="the book is closed"):
        scribe.flush()
    book.refuses = lambda batch: False
    scribe.flush()
    assert book.written == [1]


def test_one_thing_that_can_never_be_written_does_not_stop_the_others(
    book: Book, scribe: Scribe[int]
) -> None:
    book.refuses = lambda batch: 13 in batch
    for number in range(100):
        scribe.keep(number)
    for _ in range(300):
        try:
            scribe.flush()
        except OSError:
            pass
    assert sorted(book.written) == [number for number in range(100) if number != 13]
    assert list(scribe) == [13]


def test_the_thread_ends_when_there_is_nothing_to_do_and_another_one_comes(
    book: Book, scribe: Scribe[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_scribe, "LINGER", 0.001)
    book.wanted = 1
    scribe.put(1)
    assert book.full.wait(PATIENCE)
    thread = scribe._thread
    if thread is not None:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    book.wanted = 2
    book.full.clear()
    scribe.put(2)
    assert book.full.wait(PATIENCE)
    assert book.written == [1, 2]


def test_who_hears_of_what_was_written_may_flush_and_take_his_time(book: Book) -> None:
    heard, may_go_on, told = Event(), Event(), []

    def listen(batch: list[int]) -> None:
        heard.set()
        scribe.flush(tell=True)
        assert may_go_on.wait(PATIENCE)
        told.extend(batch)

    def write(batch: list[int]) -> Callable[[], None]:
        book.write(batch)
        return lambda: listen(batch)

    scribe = Scribe("a scribe", write, book.fail)
    scribe.put(1)
    assert heard.wait(PATIENCE)
    # Nobody else has to wait for him.
    scribe.keep(2)
    scribe.flush()
    assert book.written == [1, 2]
    assert told == []
    may_go_on.set()
    scribe.flush(tell=True)
    assert told == [1, 2]
