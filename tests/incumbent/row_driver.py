"""Writes and reads rows of jobs with whichever apscheduler there is.

The very same program runs with both libraries, each in an interpreter of its own, so that an
answer that differs is a difference between the libraries:

    python row_driver.py OPERATION < pickled arguments > pickled answer
"""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import no_chance
import row_jobs
import time_machine
from row_specs import COUNT, Report, Spec

import apscheduler
from apscheduler.executors.debug import DebugExecutor
from apscheduler.job import Job
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

MOST_MEETINGS = 3000
KINDS = {
    "date": DateTrigger,
    "interval": IntervalTrigger,
    "cron": CronTrigger,
    "calendarinterval": CalendarIntervalTrigger,
}


# -- writing ------------------------------------------------------------------------------------


class RowStore(MemoryJobStore):
    """Remembers what a persistent store would have written last."""

    protocol = 4
    row = b""

    def add_job(self, job: Job) -> None:
        super().add_job(job)
        self._write(job)

    def update_job(self, job: Job) -> None:
        super().update_job(job)
        self._write(job)

    def _write(self, job: Job) -> None:
        self.row = pickle.dumps(job.__getstate__(), self.protocol)


class RowScheduler(BaseScheduler):
    def shutdown(self, wait: bool = True) -> None:
        super().shutdown(wait)

    def wakeup(self) -> None:
        pass

    def _create_default_executor(self) -> DebugExecutor:
        return DebugExecutor()


def make_trigger(kind: str, *parts: Any) -> Any:
    if kind in ("and", "or"):
        members, jitter = parts
        combined = AndTrigger if kind == "and" else OrTrigger
        return combined([make_trigger(*member) for member in members], jitter)
    if kind == "crontab":
        return CronTrigger.from_crontab(*parts)
    (arguments,) = parts
    return KINDS[kind](**arguments)


def find(path: str) -> Any:
    """Return what a path in `row_jobs` leads to; a text with a colon is a reference already."""
    if ":" in path:
        return path
    found: Any = row_jobs
    for name in path.split("."):
        found = found() if name == "()" else getattr(found, name)
    return found


def write_one(spec: Spec) -> bytes:
    with time_machine.travel(spec.now, tick=False):
        store = RowStore()
        store.protocol = spec.protocol
        scheduler = RowScheduler(jobstores={"default": store}, **spec.scheduler)
        if spec.then != "pending":
            scheduler.start(paused=True)
        func = find(spec.func)
        if spec.by_name:
            kind, arguments = spec.trigger
            job = scheduler.add_job(func, kind, id=spec.id, **arguments, **spec.options)
        else:
            trigger = make_trigger(*spec.trigger)
            job = scheduler.add_job(func, trigger, id=spec.id, **spec.options)
        if spec.then == "pending":
            scheduler.start(paused=True)
        elif spec.then == "pause":
            job.pause()
        elif spec.then == "resume":
            job.pause()
            job.resume()
        elif spec.then == "modify":
            job.modify(name="modified", max_instances=9)
        row = store.row
        scheduler.shutdown()
    return row


def write(specs: list[Spec]) -> list[bytes]:
    """Return the row of each job, as a persistent store of 3.x holds it."""
    return [write_one(spec) for spec in specs]


# -- reading ------------------------------------------------------------------------------------


def restore(row: bytes) -> Job:
    job = Job.__new__(Job)
    job.__setstate__(pickle.loads(row))
    return job


def write_again(rows: list[bytes]) -> list[bytes]:
    """Return what is written after the rows were read, each with its own protocol."""
    return [pickle.dumps(restore(row).__getstate__(), row[1]) for row in rows]


def chain(
    following: Callable[[datetime | None, datetime], datetime | None], now: datetime, count: int
) -> list[datetime]:
    """Return the first fire times, each found from the one before, as a scheduler does."""
    times: list[datetime] = []
    previous = None
    while len(times) < count:
        previous = following(previous, previous or now)
        if previous is None:
            break
        times.append(previous)
    return times


def instant(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def put_off(moment: datetime, jitter: float | None) -> datetime:
    return instant(moment) + timedelta(seconds=no_chance.uniform(0, jitter or 0))


def next_of_any(trigger: Any, previous: datetime | None, now: datetime) -> datetime | None:
    """Return the next fire time of an `or` by the rule.

    A date that lies ahead has not fired, and a calendar goes by the dates of its own zone.
    """
    if isinstance(trigger, CalendarIntervalTrigger) and previous is not None:
        previous = previous.astimezone(trigger.timezone)
    if not isinstance(trigger, OrTrigger):
        ahead = isinstance(trigger, DateTrigger) and previous is not None
        if ahead and instant(trigger.run_date) > instant(previous):
            return trigger.run_date
        return trigger.get_next_fire_time(previous, now)
    answers = [next_of_any(member, previous, now) for member in trigger.triggers]
    first = min((at for at in answers if at is not None), key=instant, default=None)
    return first and put_off(first, trigger.jitter)


def meetings(trigger: AndTrigger, now: datetime) -> Iterator[datetime]:
    """Yield when all members fire at once, each of them going on by itself."""

    def on_its_own(member: Any) -> Iterator[datetime]:
        previous = member.get_next_fire_time(None, now)
        while previous is not None:
            yield instant(previous)
            previous = member.get_next_fire_time(previous, previous)

    times = [on_its_own(member) for member in trigger.triggers]
    heads = [next(member, None) for member in times]
    for _ in range(MOST_MEETINGS):
        if None in heads:
            return
        latest = max(heads)
        if min(heads) == latest:
            yield latest
            heads = [next(member, None) for member in times]
        else:
            heads = [
                next(member, None) if head < latest else head
                for head, member in zip(heads, times, strict=True)
            ]


def by_rule(trigger: Any, now: datetime) -> list[datetime]:
    """Return what a combined trigger is to answer, going by the answers of its members alone."""
    if isinstance(trigger, OrTrigger):
        return chain(lambda previous, now: next_of_any(trigger, previous, now), now, COUNT)
    if not isinstance(trigger, AndTrigger):
        return []
    times: list[datetime] = []
    for moment in meetings(trigger, now):
        if not times or moment > times[-1]:
            times.append(put_off(moment, trigger.jitter))
    return times[:COUNT]


def read_one(row: bytes, now: datetime) -> Report:
    job = restore(row)
    trigger = job.trigger
    # Once it has fired, an `and` of 3.11.3 may never answer again.
    first_only = isinstance(trigger, AndTrigger) and apscheduler.version.startswith("3.11.")
    count = 1 if first_only else COUNT
    steady = restore(row).trigger
    if getattr(steady, "jitter", None):
        steady.jitter = None
    called = job.func(*job.args, **job.kwargs)
    if hasattr(called, "close"):
        called.close()
        called = "a coroutine"
    names = ("id", "name", "func_ref", "args", "kwargs", "executor", "misfire_grace_time")
    names += ("coalesce", "max_instances", "next_run_time")
    of_trigger = ("timezone", "start_date", "end_date", "run_date", "interval", "interval_length")
    of_trigger += ("jitter", "years", "months", "weeks", "days")
    return Report(
        attributes={name: shown(getattr(job, name)) for name in names},
        called=shown(called),
        texts=(str(job), repr(job), str(trigger), repr(trigger)),
        trigger_attributes={
            name: shown(getattr(trigger, name)) for name in of_trigger if hasattr(trigger, name)
        },
        fire_times=chain(trigger.get_next_fire_time, now, count),
        without_jitter=chain(steady.get_next_fire_time, now, count),
        by_rule=by_rule(trigger, now),
        end_date=getattr(trigger, "end_date", None),
    )


def shown(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__} {value!r}"


def read(rows: list[bytes], nows: list[datetime]) -> list[Report]:
    """Return what is seen of each row's job, and its fire times from a moment on."""
    return [read_one(row, now) for row, now in zip(rows, nows, strict=True)]


def matching(requests: list[tuple[bytes, list[tuple[datetime, datetime]]]]) -> list[Any]:
    """Return for each cron row the naive local times that match, in each of some half-open spans.

    They are found as those of a zone whose clocks are never set.
    """
    answers = []
    for row, spans in requests:
        trigger = restore(row).trigger
        trigger.timezone = UTC
        trigger.start_date = trigger.end_date = trigger.jitter = None
        answers.append([list(islice(_matching(trigger, *span), 10_000)) for span in spans])
    return answers


def _matching(trigger: Any, begin: datetime, end: datetime) -> Iterator[datetime]:
    previous = trigger.get_next_fire_time(None, begin.replace(tzinfo=UTC))
    while previous is not None and previous.replace(tzinfo=None) < end:
        yield previous.replace(tzinfo=None)
        previous = trigger.get_next_fire_time(previous, previous)


def version() -> str:
    return apscheduler.version


OPERATIONS: dict[str, Callable[..., Any]] = {
    operation.__name__: operation for operation in (write, write_again, read, matching, version)
}


def main() -> None:
    # So that what is pickled names this module, and not the program it is.
    from row_driver import OPERATIONS

    warnings.simplefilter("ignore")
    # What jobs print is no part of the answer.
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        answer = OPERATIONS[sys.argv[1]](*pickle.load(sys.stdin.buffer))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
    stdout.buffer.write(pickle.dumps(answer))


if __name__ == "__main__":
    main()
