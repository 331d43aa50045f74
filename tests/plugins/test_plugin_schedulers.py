"""Schedulers that other people drive in their own way."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any

from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.schedulers.base import BaseScheduler

PATIENCE = 20


class Poller(BaseScheduler):
    """Turns over and over in the thread that calls `serve`, and cannot be woken."""

    def __init__(self, **options: Any) -> None:
        self.answers: list[float | None] = []
        self._over = threading.Event()
        super().__init__(timezone="UTC", **options)

    def wakeup(self) -> None:
        pass

    def shutdown(self, wait: bool = True) -> None:  # as 3.x has it
        super().shutdown(wait)
        self._over.set()

    def serve(self) -> None:
        while not self._over.is_set():
            self.answers.append(self._process_jobs())
            self._over.wait(0.005)


def test_a_scheduler_that_only_polls_runs_what_others_add_and_stops_when_a_job_says_so() -> None:
    scheduler = Poller()
    ended: SimpleQueue[str] = SimpleQueue()
    scheduler.add_listener(lambda event: ended.put(event.job_id), EVENT_JOB_EXECUTED)
    scheduler.add_job(bool, id="pending", misfire_grace_time=None)
    scheduler.start()
    thread = threading.Thread(target=scheduler.serve, daemon=True)
    thread.start()
    assert ended.get(timeout=PATIENCE) == "pending"
    scheduler.add_job(bool, id="added", misfire_grace_time=None)
    assert ended.get(timeout=PATIENCE) == "added"
    scheduler.add_job(scheduler.shutdown, id="last", misfire_grace_time=None)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert ended.get(timeout=PATIENCE) == "last"
    assert scheduler.answers[-1] is None


def test_a_turn_answers_in_how_many_seconds_to_come_again() -> None:
    scheduler = Poller()
    scheduler.start()
    assert scheduler._process_jobs() is None
    scheduler.add_job(bool, "interval", hours=1, id="it")
    seconds = scheduler._process_jobs()
    assert seconds is not None
    assert 3590 < seconds <= 3600
    scheduler.pause()
    assert scheduler._process_jobs() is None
    scheduler.resume()
    scheduler.pause_job("it")
    assert scheduler._process_jobs() is None
    scheduler.shutdown()
