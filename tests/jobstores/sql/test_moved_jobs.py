"""What is written of a job that has moved on means what an honest pickle of it means."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytz
from hypothesis import given
from hypothesis import strategies as st
from sql_kit import HOUR, NOON, job

from apscheduler.job import Job
from apscheduler.jobstores import _pickled
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

ZONES = [
    UTC,
    ZoneInfo("Europe/Helsinki"),
    ZoneInfo("America/New_York"),
    timezone(timedelta(hours=5, minutes=30)),
    timezone(timedelta(hours=5), "named"),
    pytz.timezone("Asia/Tokyo"),
    pytz.utc,
]
moments = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
    st.datetimes(datetime(1971, 1, 1), datetime(2500, 1, 1)),
    st.sampled_from(ZONES),
    st.sampled_from([0, 1]),
)
triggers = st.one_of(
    st.builds(lambda moment: DateTrigger(moment), moments),
    st.builds(lambda moment: IntervalTrigger(hours=1, start_date=moment), moments),
    st.builds(lambda zone: CronTrigger(minute="*/5", timezone=zone), st.sampled_from(ZONES)),
)
texts = st.sampled_from(["next_run_time", "name", "max_instances", "a", "u.", "C\n"])
values = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(), st.binary(), texts, moments),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts, inner), st.tuples(inner)),
    max_leaves=5,
)


def parts_of(state: bytes) -> list[tuple[str, Any]]:
    """Return what is stored, in a form that can be compared."""
    parts: dict[str, Any] = pickle.loads(state)
    moment = parts["next_run_time"]
    parts["next_run_time"] = moment.isoformat(), moment.fold, repr(moment.tzinfo)
    parts["trigger"] = type(parts["trigger"]), repr(parts["trigger"].__getstate__())
    return [(name, repr(value)) for name, value in parts.items()]


def stored_and_moved(stored: Job, by: timedelta, protocol: int) -> tuple[bytes, bytes]:
    """Return what is written of a job that moves on, and an honest pickle of it."""
    state = _pickled.dump(stored, protocol)
    read = _pickled.load(state)
    before = read.next_run_time
    assert before is not None
    read.next_run_time = before + by
    written = _pickled.dump_moved(read, state, before, protocol)
    return written, _pickled.dump(read, protocol)


@given(
    before=moments,
    by=st.timedeltas(timedelta(days=-300), timedelta(days=300)),
    trigger=triggers,
    args=st.lists(values, max_size=3),
    kwargs=st.dictionaries(texts, values, max_size=3),
    protocol=st.sampled_from([5, 4, 3, 2, 0]),
    elsewhere=st.sampled_from(["", "args", "kwargs", "trigger"]),
    name=texts,
)
def test_any_job(
    before: datetime,
    by: timedelta,
    trigger: BaseTrigger,
    args: list[Any],
    kwargs: dict[str, Any],
    protocol: int,
    elsewhere: str,
    name: str,
) -> None:
    # The very object that the next run time is may stand elsewhere in the job too.
    if elsewhere == "args":
        args.append(before)
    elif elsewhere == "kwargs":
        kwargs[name] = before
    elif elsewhere == "trigger":
        trigger = DateTrigger(before)
        trigger.run_date = before
    stored = job("j", before, trigger=trigger, args=args, kwargs=kwargs)
    written, honest = stored_and_moved(stored, by, protocol)
    assert parts_of(written) == parts_of(honest)


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("Europe/Helsinki"), timezone(HOUR)])
def test_of_an_ordinary_job_ten_bytes_are_replaced(
    zone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = NOON.astimezone(zone)
    stored = job("j", before, trigger=CronTrigger(minute=0, timezone=zone))
    state = _pickled.dump(stored, pickle.HIGHEST_PROTOCOL)
    honest = job("j", before + HOUR, trigger=stored.trigger)
    stored.next_run_time = before + HOUR
    monkeypatch.setattr(_pickled, "dump", None)
    written = _pickled.dump_moved(stored, state, before, pickle.HIGHEST_PROTOCOL)
    assert written == pickle.dumps(honest.__getstate__(), pickle.HIGHEST_PROTOCOL)


class Counting(DateTrigger):
    """A trigger of a user, which counts how often it was asked."""

    asked = 0

    def __getstate__(self) -> Any:
        return self.asked, super().__getstate__()

    def __setstate__(self, state: Any) -> None:
        self.asked, rest = state
        super().__setstate__(rest)


@pytest.mark.parametrize("nested", [False, True])
def test_what_a_users_trigger_remembers_is_written(nested: bool) -> None:
    counting = Counting(NOON)
    stored = job("j", NOON, trigger=OrTrigger([counting]) if nested else counting)
    state = _pickled.dump(stored, pickle.HIGHEST_PROTOCOL)
    stored.next_run_time = NOON + HOUR
    counting.asked = 7
    found = _pickled.load(_pickled.dump_moved(stored, state, NOON, pickle.HIGHEST_PROTOCOL))
    trigger: Any = found.trigger
    assert (trigger.triggers[0] if nested else trigger).asked == 7
    assert found.next_run_time == NOON + HOUR


def test_a_job_that_goes_on_in_another_time_zone_is_written_so() -> None:
    stored = job("j")
    state = _pickled.dump(stored, pickle.HIGHEST_PROTOCOL)
    stored.next_run_time = (NOON + HOUR).astimezone(ZoneInfo("Asia/Tokyo"))
    found = _pickled.load(_pickled.dump_moved(stored, state, NOON, pickle.HIGHEST_PROTOCOL))
    assert str(found.next_run_time) == "2026-03-01 22:00:00+09:00"


def test_a_state_of_another_protocol_is_written_in_the_one_that_is_wanted() -> None:
    stored = job("j")
    state = _pickled.dump(stored, 4)
    stored.next_run_time = NOON + HOUR
    assert _pickled.dump_moved(stored, state, NOON, 5)[:2] == b"\x80\x05"
