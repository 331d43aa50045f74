"""A job store is waited for by another thread, and answers in that of the host."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import current_thread, get_ident
from typing import Any

import pytest

from apscheduler._aside import Waiter

PATIENCE = 20


class Host:
    """A thread that calls what it is asked to call."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.answers: list[tuple[Any, BaseException | None, int]] = []

    def then(self, answer: Any, error: BaseException | None) -> None:
        self.answers.append((answer, error, get_ident()))

    def go_on(self) -> None:
        self.calls.get(timeout=PATIENCE)()


@pytest.fixture
def host() -> Host:
    return Host()


def test_a_call_is_made_elsewhere_and_its_answer_given_to_the_host(host: Host) -> None:
    waiter = Waiter(host.calls.put)
    waiter(get_ident, host.then)
    host.go_on()
    ((answer, error, where),) = host.answers
    assert answer != get_ident()
    assert error is None
    assert where == get_ident()
    waiter.close()


def test_what_a_call_raises_is_given_to_the_host_too(host: Host) -> None:
    waiter = Waiter(host.calls.put)
    failure = OSError("no answer")

    def fail() -> None:
        raise failure

    waiter(fail, host.then)
    waiter(lambda: 2, host.then)
    host.go_on()
    host.go_on()
    assert [(answer, error) for answer, error, _ in host.answers] == [(None, failure), (2, None)]
    waiter.close()


def test_what_a_host_that_is_gone_has_asked_for_is_gone_on_with() -> None:
    done: SimpleQueue[tuple[Any, str]] = SimpleQueue()

    def gone(call: Callable[[], object]) -> None:
        raise RuntimeError("Event loop is closed")

    waiter = Waiter(gone)
    for number in (1, 2):
        waiter(lambda n=number: n, lambda answer, _: done.put((answer, current_thread().name)))
    assert [done.get(timeout=PATIENCE)[0] for _ in range(2)] == [1, 2]
    waiter.close()


def test_after_it_was_closed_what_was_begun_is_gone_on_with_by_whoever_does_so(host: Host) -> None:
    waiter = Waiter(host.calls.put)
    waiter(lambda: 1, host.then)
    host.go_on()
    waiter.close()
    waiter(get_ident, host.then)
    assert host.answers[1:] == [(get_ident(), None, get_ident())]
