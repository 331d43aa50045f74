"""How many threads are set to work, and when."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import pytest
from executor_kit import Submission

from apscheduler.executors import _workqueue
from apscheduler.executors._workqueue import WorkQueue
from apscheduler.executors.base import Load, ShuttingDownError, Work
from apscheduler.runs import Outcome, Run, RunState


class Pool:
    """A pool whose threads are what the test calls."""

    def __init__(self, size: int) -> None:
        self.drainers: list[Callable[[], None]] = []
        self.futures: list[Future[None]] = []
        self.called_during: list[int] = []
        self.refused: list[Work] = []
        self.broken = False
        self.works = WorkQueue(size, self.submit, self.call, lambda work, _: self.refuse(work))

    def submit(self, drain: Callable[[], None]) -> Future[None]:
        if self.broken:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self.drainers.append(drain)
        self.futures.append(Future())
        return self.futures[-1]

    def call(self, work: Work, run: Run) -> Outcome:
        self.called_during.append(len(self.drainers))
        return Outcome(RunState.SUCCEEDED)

    def refuse(self, work: Work) -> None:
        self.refused.append(work)

    def put(self, count: int) -> None:
        for _ in range(count):
            self.works.put(Submission(str))


@pytest.fixture(autouse=True)
def nobody_lingers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_workqueue, "LINGER", 0)


def test_one_thread_is_called_however_much_there_is_to_do() -> None:
    pool = Pool(3)
    pool.put(5)
    assert len(pool.drainers) == 1


def test_a_thread_that_has_come_calls_the_next_before_it_runs_anything() -> None:
    pool = Pool(3)
    pool.put(5)
    pool.drainers[0]()
    # The second never came, so that the first has run all.
    assert pool.called_during == [2, 2, 2, 2, 2]
    assert pool.works.load() == Load(workers=3, busy=1, queued=0)
    pool.drainers[1]()
    assert pool.works.load().busy == 0


def test_a_thread_that_comes_late_lets_others_be_called_again() -> None:
    pool = Pool(3)
    pool.put(2)
    pool.drainers[0]()
    pool.drainers[1]()
    pool.put(1)
    assert len(pool.drainers) == 3


def test_the_last_work_calls_nobody() -> None:
    pool = Pool(3)
    pool.put(1)
    pool.drainers[0]()
    assert len(pool.drainers) == 1


def test_no_more_threads_are_called_than_there_are() -> None:
    pool = Pool(1)
    pool.put(3)
    pool.drainers[0]()
    assert pool.called_during == [1, 1, 1]


def test_those_that_are_there_do_all_when_the_pool_takes_no_more() -> None:
    pool = Pool(3)
    pool.put(3)
    pool.broken = True
    pool.drainers[0]()
    assert pool.called_during == [1, 1, 1]


def test_a_dropped_thread_does_not_keep_others_from_being_called() -> None:
    pool = Pool(2)
    pool.put(1)
    pool.futures[0].cancel()
    assert len(pool.refused) == 1
    pool.put(1)
    assert len(pool.drainers) == 2


def test_all_threads_are_called_where_each_job_blocks() -> None:
    pool = Pool(3)
    inside: list[int] = []

    def block(work: Work, run: Run) -> Outcome:
        # While this one blocks, the thread that it has called comes.
        inside.append(len(pool.drainers))
        if len(inside) < 3:
            pool.drainers[len(inside)]()
        return Outcome(RunState.SUCCEEDED)

    pool.works._call = block
    pool.put(3)
    pool.drainers[0]()
    assert inside == [2, 3, 3]


def test_of_many_works_that_are_put_at_once_all_are_taken_and_one_thread_is_called() -> None:
    pool = Pool(3)
    pool.works.put_all([Submission(str) for _ in range(5)])
    assert len(pool.drainers) == 1
    assert pool.works.load() == Load(3, 1, 5)


def test_of_many_works_none_is_taken_by_a_pool_that_is_closed() -> None:
    pool = Pool(3)
    pool.works.close()
    with pytest.raises(ShuttingDownError):
        pool.works.put_all([Submission(str), Submission(str)])
    assert pool.works.load() == Load(3, 0, 0)
