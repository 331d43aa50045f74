"""What of a trigger is stored: rows of 3.11.3 load here, and ours have the same layout."""

from __future__ import annotations

import base64
import io
import pickle
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytz
from golden import GOLDEN, Golden

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.cron.expressions import AllExpression, RangeExpression
from apscheduler.triggers.cron.fields import BaseField
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2024, 1, 1, tzinfo=UTC)

CRON = CronTrigger(
    month="jan-mar,5", day="last,1st fri", week="1/2", day_of_week="mon-wed,6", hour="*/2",
    minute="5-50/15", start_date=START, timezone=BERLIN, jitter=3,
)  # fmt: skip
TRIGGERS: list[tuple[BaseTrigger, dict[str, Any]]] = [
    (DateTrigger(START), {"version": 1, "run_date": START}),
    (
        IntervalTrigger(minutes=7, start_date=START, timezone=BERLIN, jitter=4),
        {
            "version": 2,
            "timezone": BERLIN,
            "start_date": START,
            "end_date": None,
            "interval": timedelta(minutes=7),
            "jitter": 4,
        },
    ),
    (
        CRON,
        {
            "version": 2,
            "timezone": BERLIN,
            "start_date": START,
            "end_date": None,
            "fields": CRON.fields,
            "jitter": 3,
        },
    ),
    (
        CalendarIntervalTrigger(
            months=1, days=2, hour=3, start_date="2024-01-05", timezone="UTC", jitter=2
        ),
        {
            "version": 1,
            "interval": [0, 1, 0, 2],
            "time": [3, 0, 0],
            "start_date": date(2024, 1, 5),
            "end_date": None,
            "timezone": UTC,
            "jitter": 2,
        },
    ),
    (
        OrTrigger([DateTrigger(START), AndTrigger([DateTrigger(START)])], jitter=5),
        {
            "version": 1,
            "triggers": [
                ("apscheduler.triggers.date:DateTrigger", {"version": 1, "run_date": START}),
                (
                    "apscheduler.triggers.combining:AndTrigger",
                    {
                        "version": 1,
                        "triggers": [
                            (
                                "apscheduler.triggers.date:DateTrigger",
                                {"version": 1, "run_date": START},
                            )
                        ],
                        "jitter": None,
                    },
                ),
            ],
            "jitter": 5,
        },
    ),
]


class Inspector(pickle.Unpickler):
    """Notes which names a pickle refers to."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.names: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.names.add(f"{module}.{name}")
        return super().find_class(module, name)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_a_row_of_3_11_3_loads_and_fires_as_it_did(golden: Golden) -> None:
    trigger = pickle.loads(base64.b64decode(golden.blob))["trigger"]
    assert str(trigger) == golden.text
    assert repr(trigger) == golden.representation
    if hasattr(trigger, "jitter"):
        trigger.jitter = 0

    now = datetime(2029, 12, 1, tzinfo=UTC)
    moment = trigger.get_next_fire_time(None, now)
    for expected in golden.fire_times:
        assert (moment and moment.isoformat()) == expected
        moment = trigger.get_next_fire_time(moment, moment)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_a_row_of_3_11_3_is_stored_again_as_it_was(golden: Golden) -> None:
    old = pickle.loads(base64.b64decode(golden.blob))["trigger"]
    moment = old.get_next_fire_time(None, START)
    stored = pickle.dumps(old, 4)
    new = pickle.loads(stored)
    assert new._same_schedule(old)
    assert _plain(new.__getstate__()) == _plain(old.__getstate__())
    then = Inspector(base64.b64decode(golden.blob))
    now = Inspector(stored)
    then.load()
    now.load()
    assert now.names <= then.names
    assert moment is None or new.get_next_fire_time(None, START) is not None


@pytest.mark.parametrize(
    ("trigger", "state"), TRIGGERS, ids=[type(trigger).__name__ for trigger, _ in TRIGGERS]
)
def test_the_state_is_exactly_what_3_11_3_stores(
    trigger: BaseTrigger, state: dict[str, Any]
) -> None:
    trigger.get_next_fire_time(None, START)
    assert trigger.__getstate__() == state
    assert list(trigger.__getstate__()) == list(state)
    restored = pickle.loads(pickle.dumps(trigger))
    assert repr(restored) == repr(trigger)
    assert restored.__getstate__() == state
    assert restored.__getstate__() is not state


def test_cron_fields_store_nothing_but_their_name_and_expressions() -> None:
    CRON.get_next_fire_time(None, START)
    assert [field.__dict__ for field in CRON.fields] == [
        {"name": field.name, "is_default": field.is_default, "expressions": field.expressions}
        for field in CRON.fields
    ]
    position = CRON.fields[2].expressions[1]
    assert position.__dict__ == {"step": None, "option_num": 0, "weekday": 4}


def test_restored_triggers_calculate_as_before() -> None:
    now = datetime(2024, 2, 1, tzinfo=UTC)
    for trigger, _ in TRIGGERS:
        restored = pickle.loads(pickle.dumps(trigger))
        assert restored._next_on_grid(None, now) == trigger._next_on_grid(None, now)


def test_fields_of_old_rows_need_not_pass_the_checks_of_today() -> None:
    minute = BaseField.__new__(BaseField)
    every_hour = AllExpression.__new__(AllExpression)
    every_hour.__dict__["step"] = 60
    minute.__dict__.update(name="minute", is_default=False, expressions=[every_hour])
    trigger = CronTrigger(hour="*", minute=0, timezone="UTC")
    fields = trigger.fields
    fields[6] = minute
    trigger.fields = fields
    restored = pickle.loads(pickle.dumps(trigger))
    assert restored.get_next_fire_time(START, START) == START + timedelta(hours=1)


@pytest.mark.parametrize(("name", "first"), [("hour", 24), ("second", 60), ("day", 32)])
def test_fields_of_old_rows_that_match_nothing_never_fire(name: str, first: int) -> None:
    trigger = CronTrigger(timezone="UTC", hour=0)
    at = CronTrigger.FIELD_NAMES.index(name)
    field = BaseField.__new__(type(trigger.fields[at]))
    expression = RangeExpression(first)
    field.__dict__.update(name=name, is_default=False, expressions=[expression])
    fields = trigger.fields
    fields[at] = field
    trigger.fields = fields
    assert pickle.loads(pickle.dumps(trigger)).get_next_fire_time(None, START) is None


def test_values_of_old_rows_below_a_minimum_are_left_out() -> None:
    trigger = CronTrigger(timezone="UTC", day="1-2")
    field = BaseField.__new__(type(trigger.fields[2]))
    field.__dict__.update(name="day", is_default=False, expressions=[RangeExpression(0, 2)])
    fields = trigger.fields
    fields[2] = field
    trigger.fields = fields
    restored = pickle.loads(pickle.dumps(trigger))
    assert restored.get_next_fire_time(START + timedelta(days=1), START + timedelta(days=9)) == (
        datetime(2024, 2, 1, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("trigger_class", "text"),
    [
        (DateTrigger, "only version 1 can be handled"),
        (IntervalTrigger, "only versions up to 2 can be handled"),
        (CronTrigger, "only versions up to 2 can be handled"),
        (CalendarIntervalTrigger, "only versions up to 1 can be handled"),
        (AndTrigger, "only versions up to 1 can be handled"),
    ],
)
def test_a_state_of_a_later_version_is_refused(trigger_class: type[Any], text: str) -> None:
    trigger = trigger_class.__new__(trigger_class)
    with pytest.raises(ValueError, match=text) as refusal:
        trigger.__setstate__({"version": 99})
    assert str(refusal.value) == (
        f"Got serialized data for version 99 of {trigger_class.__name__}, but {text}"
    )


@pytest.mark.parametrize(
    "trigger", [trigger for trigger, _ in TRIGGERS[:3]], ids=lambda trigger: type(trigger).__name__
)
def test_states_of_3_0_load(trigger: BaseTrigger) -> None:
    state = trigger.__getstate__()
    assert isinstance(state, dict)
    jitter = state.pop("jitter", None)
    del state["version"]
    restored = type(trigger).__new__(type(trigger))
    restored.__setstate__((None, state))  # type: ignore[attr-defined]
    assert jitter is None or restored.jitter is None  # type: ignore[attr-defined]
    expected = trigger._next_on_grid(None, START)
    assert restored._next_on_grid(None, START) == expected


def test_zones_of_pytz_in_old_rows_are_replaced() -> None:
    for trigger in CRON, IntervalTrigger(days=1, start_date=START):
        state = {**trigger.__getstate__(), "timezone": pytz.timezone("Europe/Berlin")}
        restored = type(trigger).__new__(type(trigger))
        restored.__setstate__(state)
        assert restored.timezone is BERLIN


class Stateless(BaseTrigger):
    """Leaves its state to the language."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        return self.moment


def test_members_that_leave_their_state_to_the_language_are_restored_too() -> None:
    restored = pickle.loads(pickle.dumps(OrTrigger([Stateless(START)])))
    assert restored.get_next_fire_time(None, START) == START


def test_members_may_come_back_as_lists() -> None:
    trigger = AndTrigger([DateTrigger(START)])
    state = {**trigger.__getstate__()}
    state["triggers"] = [list(member) for member in state["triggers"]]
    restored = AndTrigger.__new__(AndTrigger)
    restored.__setstate__(state)
    assert repr(restored) == repr(trigger)


def _plain(state: Any) -> Any:
    """Return a state with every object in it replaced by its class and state."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_plain(value) for value in state]
    if isinstance(state, BaseField | AllExpression):
        return type(state).__name__, _plain(state.__dict__)
    return state
