"""What happened in a trial, as values, read from the journals and from the store."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FOREVER = math.inf

#: Strikes by which the store itself is out of reach of everybody.
OUTAGES = frozenset({"stop server", "kill server", "lock"})


@dataclass(frozen=True)
class Job:
    """A job that somebody has added, or tried to.

    :param step: microseconds between its slots; None if it has only one
    :param first: its only slot; None if it has several
    :param contiguous: whether each of its slots in one incarnation must have an answer
    :param kept: whether its schedule is never changed, so that it has one incarnation
    """

    id: str
    step: int | None = None
    first: int | None = None
    max_instances: int = 1
    recover: bool = False
    contiguous: bool = True
    kept: bool = True


@dataclass(frozen=True)
class Call:
    """A function was called. Times are those of the machine, in seconds; slots microseconds.

    :param returned: None if nothing tells of its end
    """

    run: str
    job: str
    attempt: int
    slot: int
    pid: int
    began: float
    returned: float | None = None


@dataclass(frozen=True)
class Record:
    """A Run, as the store knows it at the end; ``first`` and ``slot`` are microseconds."""

    id: str
    job: str
    incarnation: str
    kind: str
    state: str
    first: int
    slot: int
    count: int = 1
    attempt: int = 1
    opened: float = 0.0
    ended: float | None = None
    node: str = ""
    reason: str | None = None

    @property
    def of_schedule(self) -> bool:
        return self.kind != "manual"


@dataclass(frozen=True)
class Edit:
    """Somebody asked for a change of a job.

    :param done: when the answer came; None if none came
    :param acked: whether the answer was yes. If not, nobody knows whether it was carried out
    :param sets: values by attribute
    :param next: the next run time that it was told, in microseconds
    :param whole: whether it was made by 3.11.3, which writes back a whole row as it was read
    """

    who: str
    verb: str
    job: str
    asked: float
    done: float | None = None
    acked: bool = False
    sets: Mapping[str, Any] = field(default_factory=dict)
    next: int | None = None
    whole: bool = False
    error: str = ""

    @property
    def end(self) -> float:
        """The moment after which it cannot be carried out any more."""
        return self.done if self.acked and self.done is not None else FOREVER


@dataclass(frozen=True)
class Reading:
    """Somebody read a job; None for its values if there was none."""

    who: str
    job: str
    asked: float
    done: float
    values: Mapping[str, Any] | None


@dataclass(frozen=True)
class Strike:
    """Something was done to a process, or to the store."""

    kind: str
    began: float
    ended: float
    pid: int | None = None


@dataclass(frozen=True)
class Line:
    """A line that a scheduler has logged."""

    name: str
    pid: int
    at: float
    level: int
    text: str
    traceback: str | None = None


@dataclass(frozen=True)
class Explanation:
    """What the scheduler says of a slot that has no answer on record."""

    job: str
    slot: int
    text: str


@dataclass
class History:
    """A whole trial.

    :param final: readings of all jobs at the end, and of those that had been there
    :param calm_until: up to when slots can be expected to have been answered
    :param faults: what the processes did that they must not do, such as to end
    """

    jobs: dict[str, Job] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    final: list[Reading] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    explanations: list[Explanation] = field(default_factory=list)
    calm_until: float = 0.0
    faults: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> History:
        """Return what the journals in a folder tell."""
        history = cls()
        for path in sorted(folder.glob("*.jsonl")):
            history._add([json.loads(line) for line in path.read_text().splitlines()])
        return history

    def _add(self, lines: Iterable[dict[str, Any]]) -> None:
        """Add what one process has written."""
        calls: dict[str, Call] = {}
        edits: dict[int, Edit] = {}
        for line in lines:
            what, at, name, pid = (line.pop(key) for key in ("what", "at", "name", "pid"))
            match what:
                case "job":
                    self.jobs[line["id"]] = Job(**line)
                case "call":
                    call = Call(line["run"], line["job"], line["attempt"], line["slot"], pid, at)
                    # A second call of one run must stay to be seen.
                    if call.run in calls:
                        self.calls.append(calls[call.run])
                    calls[call.run] = call
                case "return":
                    calls[line["run"]] = replace(calls[line["run"]], returned=at)
                case "edit":
                    number = line.pop("number")
                    edits[number] = Edit(f"{name}-{pid}", asked=at, **line)
                case "answer":
                    number = line.pop("number")
                    edits[number] = replace(edits[number], done=at, **line)
                case "reading":
                    self.readings.append(Reading(f"{name}-{pid}", done=at, **line))
                case "final":
                    self.final.append(Reading(f"{name}-{pid}", done=at, **line))
                case "record":
                    self.records.append(Record(**line))
                case "strike":
                    struck = line.pop("struck")
                    self.strikes.append(Strike(pid=struck, **line))
                case "line":
                    self.lines.append(Line(name, pid, at, **line))
                case "explanation":
                    self.explanations.append(Explanation(**line))
                case "calm":
                    self.calm_until = at
                case "fault":
                    self.faults.append(line["text"])
        self.calls += calls.values()
        self.edits += edits.values()
