"""The trigger that fires once."""

from __future__ import annotations

from datetime import date, datetime, tzinfo
from typing import Any

from apscheduler import clock
from apscheduler.triggers.base import BaseTrigger, slot_state
from apscheduler.util import astimezone, convert_to_datetime, datetime_repr, get_localzone


class DateTrigger(BaseTrigger):
    """Fires once, at a given time, even if that is long past.

    :param run_date: when to fire: a datetime, a date (its midnight) or a text such as
        ``2024-02-29 12:30:00``; the present moment if not given
    :param timezone: zone in which a naive ``run_date`` is meant; the local one if not given
    :raises ValueError: if ``run_date`` is a text that is no date
    :raises TypeError: if an argument is of no usable type
    """

    __slots__ = ("run_date",)

    run_date: datetime

    def __init__(
        self,
        run_date: date | datetime | str | None = None,
        timezone: tzinfo | str | None = None,
    ) -> None:
        tz = astimezone(timezone or None) or get_localzone()
        if run_date is None:
            self.run_date = clock.now(tz)
        else:
            self.run_date = convert_to_datetime(run_date, tz, "run_date")

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        return self.run_date if previous_fire_time is None else None

    def __getstate__(self) -> dict[str, Any]:
        return {"version": 1, "run_date": self.run_date}

    def __setstate__(self, state: Any) -> None:
        settings = slot_state(state)
        version = settings.get("version", 1)
        if version > 1:
            raise ValueError(
                f"Got serialized data for version {version} of {type(self).__name__}, "
                "but only version 1 can be handled"
            )
        self.run_date = settings["run_date"]

    def __str__(self) -> str:
        return f"date[{datetime_repr(self.run_date)}]"

    def __repr__(self) -> str:
        return f"<DateTrigger (run_date='{datetime_repr(self.run_date)}')>"
