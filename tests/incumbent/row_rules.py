"""When a job has to fire: as 3.11.3 would have it, except where we differ on purpose.

Each difference is written down as the rule that takes the place of what 3.11.3 does. All that
goes into a rule comes from 3.11.3 itself (what its triggers answer where nothing is in dispute)
and from the standard library's knowledge of zones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from clock_changes import DAY, Stretch, changes_between, stretches
from row_specs import CHANCE, COUNT, QUIET, Report, Spec

#: Schedules that end do so before this.
ALL_OVER = datetime(2031, 12, 1, tzinfo=UTC)


def instants(moments: Iterable[datetime]) -> list[datetime]:
    return [moment.astimezone(UTC) for moment in moments]


def put_off(moment: datetime, jitter: float | None) -> datetime:
    return moment.astimezone(UTC) + timedelta(seconds=CHANCE * (jitter or 0))


def zone_of(spec: Spec) -> Any:
    """Return the zone of a trigger that is not made of others."""
    kind, *parts = spec.trigger
    return parts[1] if kind == "crontab" else parts[0]["timezone"]


def key_of(zone: str | tzinfo) -> str:
    return zone if isinstance(zone, str) else getattr(zone, "zone", None) or str(zone)


def jitter_of(spec: Spec) -> float | None:
    settings = spec.trigger[1]
    jitter: float | None = settings.get("jitter") if isinstance(settings, dict) else None
    return jitter


def has_any(kinds: set[str], trigger: Any) -> bool:
    """Tell whether a trigger, or a member of an `or`, is of one of these kinds."""
    kind, members, *_ = trigger
    return kind in kinds or (kind == "or" and any(has_any(kinds, part) for part in members))


def depends_on_clock_changes(spec: Spec) -> bool:
    return spec.trigger[0] in ("cron", "crontab") and zone_of(spec) not in QUIET


def required(spec: Spec, there: Report) -> list[datetime] | None:
    """Return the instants at which this has to fire; None means that the clocks decide."""
    kind = spec.trigger[0]
    if depends_on_clock_changes(spec):
        return None
    if kind == "interval" and jitter_of(spec):
        return around_the_grid(spec, there)
    if kind == "calendarinterval" and jitter_of(spec):
        # Each date is counted from the one before jitter.
        return [put_off(moment, jitter_of(spec)) for moment in there.without_jitter]
    if kind == "and":
        # Each member goes on by its own sequence, where 3.11.3 would not come back.
        assert instants(there.fire_times) == instants(there.by_rule[:1])
        return instants(there.by_rule)
    if kind == "or" and has_any({"date", "calendarinterval"}, spec.trigger):
        # A date fires though another member has fired before, and a calendar counts from the
        # date of that in its own zone.
        return instants(there.by_rule)
    return instants(there.fire_times)


def around_the_grid(spec: Spec, there: Report) -> list[datetime]:
    """Return the points of an interval's grid, each put off by its jitter: nothing adds up.

    What jitter carries over the end does not fire.
    """
    times = [put_off(moment, jitter_of(spec)) for moment in there.without_jitter]
    end = there.end_date
    return [moment for moment in times if end is None or moment <= end.astimezone(UTC)]


# -- clocks that are set ------------------------------------------------------------------------


def hours_of(spec: Spec) -> set[int]:
    """Return the hours that a cron trigger names."""
    if spec.trigger[0] == "crontab":
        expression = spec.trigger[1].split()[1]
    else:
        fields = spec.trigger[1].keys() - {"timezone", "start_date", "end_date", "jitter"}
        finer = {"minute", "second"} & fields or not fields
        expression = str(spec.trigger[1].get("hour", "*" if finer else 0))
    hours: set[int] = set()
    for part in expression.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if first == "*":
            first, last = "0", "23"
        elif not last:
            last = "23" if step else first
        hours.update(range(int(first), int(last) + 1, int(step or 1)))
    return hours


def shown(spec: Spec, here: Report) -> list[Stretch]:
    """Return what the clocks show while the job fires as often as was looked at."""
    end = here.fire_times[-1].astimezone(UTC) if len(here.fire_times) == COUNT else ALL_OVER
    return list(stretches(key_of(zone_of(spec)), spec.now, end))


def required_by_clocks(
    spec: Spec, stretches: Sequence[Stretch], matching: Sequence[Sequence[datetime]]
) -> list[datetime]:
    """Return when a cron job has to fire, by the local times that match in each stretch.

    Restricted hours: each local time once, the first time it comes, and what is left out at the
    first instant after it. All hours: elapsed time; what is repeated comes twice, what is left
    out does not come.
    """
    restricted = hours_of(spec) != set(range(24))
    times: set[datetime] = set()
    latest = stretches[0].begin
    for stretch, walls in zip(stretches, matching, strict=True):
        for wall in walls:
            if stretch.shift is None:
                if restricted:
                    times.add(stretch.instant)
            elif wall >= latest or not restricted:
                times.add((wall - stretch.shift).replace(tzinfo=UTC))
        latest = max(latest, stretch.end)
    return jittered(sorted(times), jitter_of(spec))[:COUNT]


def jittered(times: Sequence[datetime], jitter: float | None) -> list[datetime]:
    """Return the times put off; those that one is put off beyond are passed over with it."""
    chain: list[datetime] = []
    for moment in times:
        if not chain or moment > chain[-1]:
            chain.append(put_off(moment, jitter))
    return chain


def differences(spec: Spec, here: Report, there: Report) -> list[datetime]:
    """Return the instants at which only one of the two fires, as far as both were looked at."""
    ours, theirs = instants(here.fire_times), instants(there.fire_times)
    ends = [times[-1] for times in (ours, theirs) if len(times) == COUNT]
    return sorted(at for at in set(ours) ^ set(theirs) if all(at <= end for end in ends))


def is_due_to_clocks(spec: Spec, here: Report, at: datetime) -> bool:
    """Tell whether clocks are set within a day of an instant, or since the last fire time then.

    3.11.3 may also lose what comes on the first day after a pause in which they are set.
    """
    times = [spec.now, *instants(here.fire_times)]
    before = max((moment for moment in times if moment <= at - DAY), default=spec.now)
    return is_changed_between(spec, min(before, at - DAY), at + DAY)


def is_changed_between(spec: Spec, begin: datetime, end: datetime) -> bool:
    return bool(changes_between(key_of(zone_of(spec)), begin, end))
