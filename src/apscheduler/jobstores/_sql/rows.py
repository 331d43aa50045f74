"""Runs, nodes and moments as rows, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.clock import UTC
from apscheduler.jobstores._sql.schema import MAX_ID, MAX_NAME
from apscheduler.nodes import Node
from apscheduler.runs import Run, RunKind, RunState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: In the order of `run_row`.
RUN_COLUMNS = (
    "id",
    "job_id",
    "incarnation",
    "kind",
    "state",
    "scheduled_at",
    "first_scheduled_at",
    "timezone",
    "count",
    "attempt",
    "batch",
    "reason",
    "error",
    "executor",
    "node",
    "attention_at",
    "opened_at",
    "started_at",
    "ended_at",
    "job_name",
    "slot_key",
    "definition",
)
RunRow = tuple[Any, ...]


def micros(moment: datetime) -> int:
    """Return an aware moment as microseconds since 1970."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def micros_or_none(moment: datetime | None) -> int | None:
    return None if moment is None else micros(moment)


def moment(micros: int) -> datetime:
    """Return the moment, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def moment_or_none(micros: int | None) -> datetime | None:
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


def seconds(moment: datetime) -> float:
    """Return a moment as the column of 3.x has it."""
    return micros(moment) / 1_000_000


def moment_of_seconds(seconds: float) -> datetime:
    """Return the moment that a column of 3.x means, in UTC."""
    return moment(round(seconds * 1_000_000))


def run_row(run: Run, definition: bytes | None = None) -> RunRow:
    """Return a Run as it is inserted.

    :param definition: the job as bytes, if the Run holds it
    """
    scheduled_at = micros(run.scheduled_at)
    if run.first_scheduled_at is run.scheduled_at:
        first_scheduled_at = scheduled_at
    else:
        first_scheduled_at = micros(run.first_scheduled_at)
    return (
        run.id,
        run.job_id,
        run.incarnation,
        run.kind._value_,
        run.state._value_,
        scheduled_at,
        first_scheduled_at,
        zone_name(run.scheduled_at),
        run.count,
        run.attempt,
        run.batch,
        storable(run.reason),
        storable(run.error),
        run.executor,
        run.node,
        micros_or_none(run.attention_at),
        micros(run.opened_at),
        micros_or_none(run.started_at),
        micros_or_none(run.ended_at),
        storable(run.job_name),
        slot_key(run, scheduled_at),
        definition,
    )


def slot_key(run: Run, scheduled_at: int) -> str:
    """Return what no two Runs of a job have in common."""
    if run.kind is RunKind.MANUAL:
        return run.id
    return f"{run.incarnation}:{scheduled_at}:{run.attempt}"


def run_of(row: Any, jobstore: str, definition: Any = None) -> Run:
    """Return the Run that a row with the columns of `RUN_COLUMNS` holds."""
    zone = zone_of(row.timezone)
    return Run(
        id=row.id,
        job_id=row.job_id,
        state=RunState(row.state),
        kind=RunKind(row.kind),
        scheduled_at=moment(row.scheduled_at).astimezone(zone),
        first_scheduled_at=moment(row.first_scheduled_at).astimezone(zone),
        opened_at=moment(row.opened_at),
        batch=row.batch,
        job_name=row.job_name,
        jobstore=jobstore,
        executor=row.executor,
        node=row.node,
        incarnation=row.incarnation,
        count=row.count,
        attempt=row.attempt,
        attention_at=moment_or_none(row.attention_at),
        started_at=moment_or_none(row.started_at),
        ended_at=moment_or_none(row.ended_at),
        reason=row.reason,
        error=row.error,
        definition=definition,
    )


def node_row(node: Node) -> dict[str, Any]:
    """Return a node as a row, but for the end of its lease."""
    check_length("id of a node", node.id, MAX_ID)
    return {
        "id": node.id,
        "host": node.host,
        "boot": node.boot,
        "pid": node.pid,
        "process_started": node.process_started,
        "executors": json.dumps(node.executors),
        "since": micros(node.since),
    }


def node_of(row: Any, now: int) -> Node:
    """Return the node that a row holds.

    :param now: the time of the store, in microseconds
    """
    return Node(
        row.id,
        row.host,
        row.boot,
        row.pid,
        row.process_started,
        tuple(json.loads(row.executors)),
        moment(row.since),
        moment(row.alive_until),
        row.alive_until > now,
    )


def check_job(job_id: str, executor: str) -> None:
    """Refuse what no column has room for.

    :raises ValueError: naming it
    """
    check_length("id of a job", job_id, MAX_NAME)
    check_length("alias of an executor", executor, MAX_NAME)


def can_be_id(job_id: str) -> bool:
    """Tell whether a job can have this id; the database is not to be asked about any other."""
    return len(job_id) <= MAX_NAME and storable(job_id) == job_id


def check_length(what: str, text: str, longest: int) -> None:
    if len(text) > longest:
        raise ValueError(
            f"the {what} has {len(text)} characters, and this job store has room for {longest}: "
            f"{text!r}"
        )
    if storable(text) != text:
        raise ValueError(f"the {what} holds characters that cannot be stored: {text!r}")


def storable(text: str | None) -> str | None:
    """Return a text without what no database takes: NUL, and halves of characters."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def zone_name(moment: datetime) -> str:
    """Return the key of a moment's time zone, or its offset where the zone has none."""
    zone = moment.tzinfo
    if zone is UTC:
        return "UTC"
    key = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if key:
        return str(key)
    return moment.isoformat()[len(moment.replace(tzinfo=None).isoformat()) :]


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """Return the time zone by its key or offset; UTC if this machine does not know it."""
    if name == "UTC":
        return UTC
    try:
        if name[0] in "+-":
            offset = datetime.fromisoformat(f"1970-01-01T00:00:00{name}").utcoffset()
            return timezone(offset or timedelta(0))
        return ZoneInfo(name)
    except (ValueError, LookupError):
        return UTC


def chunks(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Return the items in parts of a size that a statement has room for."""
    return [items[start : start + size] for start in range(0, len(items), size)]
