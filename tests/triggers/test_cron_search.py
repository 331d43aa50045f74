"""Whatever the fields, a fire time matches them, and nothing before it does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from apscheduler.triggers.cron import CronTrigger

BOUNDS = {"month": (1, 12), "day": (1, 31), "week": (1, 53), "day_of_week": (0, 6),
          "hour": (0, 23), "minute": (0, 59), "second": (0, 59)}  # fmt: skip
NAMES = list(BOUNDS)


@st.composite
def expressions(draw: st.DrawFn, low: int, high: int) -> tuple[str, set[int]]:
    """Draw the text of an expression and the values that it stands for."""
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    form = draw(st.integers(0, 4))
    if form == 0:
        return "*", set(range(low, high + 1))
    if form == 1:
        step = draw(st.integers(1, high - low))
        return f"*/{step}", set(range(low, high + 1, step))
    if form == 2 or last == first:
        return str(first), {first}
    step = draw(st.integers(1, last - first))
    if form == 3:
        return f"{first}-{last}/{step}", set(range(first, last + 1, step))
    return f"{first}/{step}", set(range(first, high + 1, step))


fields_given = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(expressions(*bounds), min_size=1, max_size=2)
        for name, bounds in BOUNDS.items()
    },
)


@settings(max_examples=80, deadline=None)
@given(fields_given, st.datetimes(datetime(1999, 1, 1), datetime(2060, 1, 1)))
def test_a_fire_time_matches_all_fields_and_nothing_before_it_does(
    fields: dict[str, list[tuple[str, set[int]]]], now: datetime
) -> None:
    texts = {name: ",".join(text for text, _ in parts) for name, parts in fields.items()}
    values = {name: set[int]().union(*(v for _, v in parts)) for name, parts in fields.items()}
    for name in NAMES[max(map(NAMES.index, fields), default=len(NAMES)) + 1 :]:
        if name not in ("week", "day_of_week"):
            values[name] = {BOUNDS[name][0]}

    def matches(moment: datetime, names: set[str]) -> bool:
        shown = {
            "month": moment.month,
            "day": moment.day,
            "week": moment.isocalendar().week,
            "day_of_week": moment.weekday(),
            "hour": moment.hour,
            "minute": moment.minute,
            "second": moment.second,
        }
        return all(shown[name] in values[name] for name in names & set(values))

    now = now.replace(tzinfo=UTC)
    moment = CronTrigger(timezone="UTC", **texts).get_next_fire_time(None, now)
    if moment is not None:
        assert moment >= now
        assert matches(moment, set(NAMES))
        for unit in timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1):
            for steps in range(1, 61):
                earlier = moment - steps * unit
                assert earlier < now or not matches(earlier, set(NAMES))
    day = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    end = moment - timedelta(days=1) if moment is not None else day + timedelta(days=45 * 366)
    while day <= end:
        assert not matches(day, {"month", "day", "week", "day_of_week"})
        day += timedelta(days=1)
