"""The queue of a store in memory gives its items in order, however much is due."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apscheduler.jobstores import _due
from apscheduler.jobstores._due import DueQueue

ITEMS = st.tuples(st.integers(0, 50).map(float), st.text("ab", max_size=2))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), ITEMS),
        st.tuples(st.just("pop"), st.integers(1, 10)),
        st.tuples(st.just("take"), st.tuples(st.integers(0, 60).map(float), st.integers(1, 20))),
    ),
    max_size=60,
)


@pytest.fixture(autouse=True, scope="module")
def sort_out_early() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_due, "FEW", 3)
        patch.setattr(_due, "SHARE", 100)
        yield


@given(STEPS)
def test_the_first_item_is_always_the_earliest(steps: list[tuple[str, object]]) -> None:
    queue, model = DueQueue(), []
    for step, value in steps:
        if step == "push":
            queue.push(value)  # type: ignore[arg-type]
            model = sorted([*model, value])
        elif step == "take":
            until, limit = value  # type: ignore[misc]
            due = [item for item in model if item[0] <= until]
            assert sorted(queue.until(until)) == due
            assert queue.take(until, limit) == due[:limit]
            model = model[len(due[:limit]) :]
        else:
            for _ in range(min(value, len(model))):  # type: ignore[call-overload]
                assert queue.peek() == model.pop(0)
                queue.pop()
        assert len(queue) == len(model)
        assert queue.peek() == (model[0] if model else None)


def test_what_stands_is_kept_once() -> None:
    queue = DueQueue()
    for number in range(10):
        queue.push((float(number), "a"))
        queue.push((float(number), "a"))
    assert queue.take(5.0, 3) == [(0.0, "a"), (0.0, "a"), (1.0, "a")]
    queue.take(5.0, 1)
    queue.keep(lambda item: item[0] >= 4)
    kept = []
    while (item := queue.peek()) is not None:
        kept.append(item[0])
        queue.pop()
    assert kept == [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]


def test_a_queue_that_was_cleared_is_empty() -> None:
    queue = DueQueue()
    for number in range(10):
        queue.push((float(number), "a"))
    queue.take(5.0, 3)
    queue.take(5.0, 1)
    queue.clear()
    assert (len(queue), queue.peek(), queue.take(99.0, 5)) == (0, None, [])
