"""Somebody who edits jobs at random, through a scheduler of ours or of 3.11.3.

It knows nothing of either library but the methods that both have.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from chaos import jobs
from chaos.journal import journal, micros

#: The job of which there is most to recover when a node dies.
LONG_RECOVERED = "steady-long-recovered"
#: Jobs that all are added to at the beginning: id, seconds between slots, and arguments of
#: `add_job`. Of the steady ones everybody changes names and arguments, but nobody the schedule.
STEADY: tuple[tuple[str, float, dict[str, Any]], ...] = (
    ("steady-quick", 0.5, {}),
    ("steady-every", 0.4, {"coalesce": False, "misfire_grace_time": None}),
    ("steady-late", 1.0, {"misfire_grace_time": None, "kwargs": {"seconds": 0.2}}),
    ("steady-recovered", 0.7, {"recover": True, "kwargs": {"seconds": 0.5}}),
    ("steady-failing", 1.3, {"kwargs": {"fails": True}}),
    ("steady-two", 0.6, {"max_instances": 2, "kwargs": {"seconds": 1.0}}),
    ("steady-long", 1.0, {"kwargs": {"seconds": 4.0}}),
    # More of these than one node has threads for: others have some to lose, at any time.
    (
        LONG_RECOVERED,
        0.4,
        {"max_instances": 9, "recover": True, "kwargs": {"seconds": 4.0}},
    ),
    (
        "steady-every-recovered",
        0.3,
        {"coalesce": False, "recover": True, "kwargs": {"seconds": 0.1}},
    ),
)
#: Of these the schedule is changed, by clients and nodes.
MOVED: tuple[tuple[str, float, dict[str, Any]], ...] = (
    ("moved-quick", 0.5, {}),
    ("moved-late", 1.1, {"misfire_grace_time": None, "kwargs": {"seconds": 0.3}}),
    ("moved-recovered", 0.8, {"recover": True}),
    ("moved-every", 0.4, {"coalesce": False}),
)
#: These belong to 3.11.3; but for the second, whose schedule it changes, they are steady.
INCUMBENTS: tuple[tuple[str, float, dict[str, Any]], ...] = (
    ("incumbent-steady", 0.6, {}),
    ("incumbent-moved", 0.9, {}),
)
#: Each node adds these when it starts, in place of those that are there.
REPLACED: tuple[tuple[str, float], ...] = (("replaced-quick", 0.5), ("replaced-slow", 2.5))
#: How many may wait to be removed.
MOST = 5


class Editor:
    """Edits jobs, and writes down what was asked for and what came of it.

    :param whole: whether it is 3.11.3, which writes back whole rows
    :param schedules: ids of jobs whose schedule it changes
    :param names: ids of jobs of which it changes only other things
    """

    def __init__(
        self,
        scheduler: Any,
        seed: str,
        *,
        whole: bool,
        schedules: dict[str, float],
        names: list[str],
    ) -> None:
        self._scheduler = scheduler
        self._random = random.Random(seed)
        self._whole = whole
        self._schedules = schedules
        self._names = names
        self._stamp = f"{seed}-{os.getpid()}"
        self._numbers = itertools.count()
        self._brief: list[str] = []
        self._later: list[str] = []
        self._kinds: list[Callable[[], None]] = [
            *[self.rename] * 3,
            *[self.retag] * 2,
            *[self.pause, self.resume, self.resume, self.reschedule, self.reschedule],
            *[self.add_once] * 3,
            *[self.add_brief, self.add_later, self.remove, self.remove],
            *[self.read] * 3,
        ]
        if not whole:
            self._kinds += [self.add_many, self.run_now]

    def step(self) -> None:
        """Do one edit, or read something."""
        self._random.choice(self._kinds)()

    def pause_between(self) -> float:
        """Return for how many seconds to wait until the next."""
        return self._random.uniform(0.05, 0.5)

    # -- what stays -----------------------------------------------------------------------------

    def add_first(self, table: tuple[tuple[str, float, dict[str, Any]], ...]) -> None:
        """Add the jobs that stay."""
        for job_id, step, options in table:
            kept = job_id not in self._schedules
            # 3.11.3 does not let a new incarnation begin.
            journal().write(
                "job",
                id=job_id,
                step=round(step * 1e6),
                max_instances=options.get("max_instances", 1),
                recover=options.get("recover", False),
                kept=kept,
                contiguous=kept or not self._whole,
            )
            self._add(job_id, step, options)

    def _add(self, job_id: str, step: float, options: dict[str, Any]) -> None:
        start, name = self._start(), self._new()
        self._ask(
            "add",
            job_id,
            {"name": name, "tag": name, "start": micros(start), "paused": False},
            lambda: self._scheduler.add_job(
                jobs.work,
                "interval",
                [name],
                id=job_id,
                name=name,
                seconds=step,
                start_date=start,
                **options,
            ),
        )

    def rename(self) -> None:
        job_id, name = self._random.choice([*self._names, *self._schedules]), self._new()
        self._ask(
            "rename",
            job_id,
            {"name": name},
            lambda: self._scheduler.modify_job(job_id, name=name),
        )

    def retag(self) -> None:
        job_id, tag = self._random.choice(self._names), self._new()
        self._ask(
            "retag", job_id, {"tag": tag}, lambda: self._scheduler.modify_job(job_id, args=[tag])
        )

    def pause(self) -> None:
        job_id = self._random.choice(list(self._schedules))
        self._ask("pause", job_id, {"paused": True}, lambda: self._scheduler.pause_job(job_id))

    def resume(self) -> None:
        job_id = self._random.choice(list(self._schedules))
        self._ask("resume", job_id, {"paused": False}, lambda: self._scheduler.resume_job(job_id))

    def reschedule(self) -> None:
        job_id, start = self._random.choice(list(self._schedules)), self._start()
        self._ask(
            "reschedule",
            job_id,
            {"paused": False, "start": micros(start)},
            lambda: self._scheduler.reschedule_job(
                job_id, trigger="interval", seconds=self._schedules[job_id], start_date=start
            ),
        )

    def run_now(self) -> None:
        # A recovery of such a run would look like a slot.
        job_id = self._random.choice([job_id for job_id in self._names if "recov" not in job_id])
        self._ask("run_now", job_id, {}, lambda: self._scheduler.run_now(job_id))

    # -- what comes and goes --------------------------------------------------------------------

    def add_once(self) -> None:
        job_id, at, recover = self._once()
        options = {"recover": True} if recover else {}
        self._ask(
            "add",
            job_id,
            {},
            lambda: self._scheduler.add_job(
                jobs.work,
                "date",
                [job_id],
                {"seconds": 0.3 if recover else 0.0},
                id=job_id,
                run_date=at,
                misfire_grace_time=None,
                **options,
            ),
        )

    def add_many(self) -> None:
        made = [self._once() for _ in range(self._random.randint(2, 10))]
        specs = [
            {
                "func": jobs.work,
                "trigger": "date",
                "args": [job_id],
                "id": job_id,
                "run_date": at,
                "recover": recover,
            }
            for job_id, at, recover in made
        ]
        numbers = [self._asks("add_jobs", job_id, {}) for job_id, _, _ in made]
        self._answers(numbers, lambda: self._scheduler.add_jobs(specs))

    def _once(self) -> tuple[str, datetime, bool]:
        recover = not self._whole and self._random.random() < 0.5
        job_id = f"once-{self._new()}"
        at = datetime.now(UTC) + timedelta(seconds=self._random.uniform(0.2, 4))
        journal().write("job", id=job_id, first=micros(at), recover=recover)
        return job_id, at, recover

    def add_brief(self) -> None:
        if len(self._brief) >= MOST:
            return
        job_id, step = f"brief-{self._new()}", 0.5
        journal().write(
            "job", id=job_id, step=round(step * 1e6), kept=False, contiguous=not self._whole
        )
        start = self._start()
        if self._ask(
            "add",
            job_id,
            {"exists": True},
            lambda: self._scheduler.add_job(
                jobs.work, "interval", [job_id], id=job_id, seconds=step, start_date=start
            ),
        ):
            self._brief.append(job_id)

    def add_later(self) -> None:
        if len(self._later) >= MOST:
            return
        job_id, at = f"later-{self._new()}", datetime.now(UTC) + timedelta(days=1)
        journal().write("job", id=job_id, first=micros(at))
        if self._ask(
            "add",
            job_id,
            {"exists": True},
            lambda: self._scheduler.add_job(jobs.work, "date", [job_id], id=job_id, run_date=at),
        ):
            self._later.append(job_id)

    def remove(self) -> None:
        kind = self._random.choice([self._brief, self._later])
        if kind:
            job_id = kind.pop(0)
            self._ask(
                "remove",
                job_id,
                {"exists": False},
                lambda: self._scheduler.remove_job(job_id),
            )

    # -- reading --------------------------------------------------------------------------------

    def read(self) -> None:
        job_id = self._random.choice([*self._names, *self._schedules, *self._brief, *self._later])
        read(self._scheduler, job_id)

    # -- how ------------------------------------------------------------------------------------

    def _ask(
        self, verb: str, job_id: str, sets: dict[str, Any], call: Callable[[], object]
    ) -> bool:
        """Ask for an edit; return whether it is known to be done."""
        return self._answers([self._asks(verb, job_id, sets)], call)

    def _asks(self, verb: str, job_id: str, sets: dict[str, Any]) -> int:
        number = next(self._numbers)
        journal().write("edit", number=number, verb=verb, job=job_id, sets=sets, whole=self._whole)
        return number

    def _answers(self, numbers: list[int], call: Callable[[], object]) -> bool:
        try:
            answer = call()
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            for number in numbers:
                journal().write("answer", number=number, error=text)
            return False
        following = getattr(answer, "next_run_time", None)
        for number in numbers:
            journal().write(
                "answer", number=number, acked=True, next=following and micros(following)
            )
        return True

    def _new(self) -> str:
        return f"{self._stamp}-{next(self._numbers)}"

    def _start(self) -> datetime:
        """Return a beginning of a schedule that nobody else has."""
        return datetime.now(UTC) - timedelta(microseconds=self._random.randrange(1_000_000))


def read(scheduler: Any, job_id: str) -> None:
    """Read a job, and write down what is read."""
    asked = time.time()
    try:
        job = scheduler.get_job(job_id)
    except Exception:
        return  # Edits tell whether the store is out of reach.
    journal().write("reading", job=job_id, asked=asked, values=values_of(job))


def values_of(job: Any) -> dict[str, Any] | None:
    """Return what is read of a job, None if there is none."""
    if job is None:
        return None
    following = job.next_run_time
    values = {
        "name": job.name,
        "tag": job.args[0],
        "paused": following is None,
        "next": following and micros(following),
    }
    if hasattr(job.trigger, "start_date"):
        values["start"] = micros(job.trigger.start_date)
    return values
