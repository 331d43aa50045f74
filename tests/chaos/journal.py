"""What a process writes down as it happens, independently of the store.

It runs under 3.11.3 too, and imports nothing of either library.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Names the folder of the journals, and the process that writes.
FOLDER, NAME = "CHAOS_FOLDER", "CHAOS_NAME"

#: How many bytes at the end of a journal tell what is going on.
NEWEST = 200_000


class Journal:
    """A file to which one process appends a line for each thing that happens.

    Each line is one write, so that it is there as a whole or not at all when the process is
    killed, and no other process has to be asked what became of it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        path = folder / f"{name}-{os.getpid()}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._who = name, os.getpid()

    def write(self, what: str, **fields: Any) -> None:
        """Append a line with the time, by the clock of the machine, and who writes."""
        name, pid = self._who
        line = {"what": what, "at": time.time(), "name": name, "pid": pid, **fields}
        os.write(self._file, json.dumps(line).encode() + b"\n")


def jobs_called(folder: Path, name: str, pid: int) -> set[str]:
    """Return the ids of the jobs that a process has called and that have not returned.

    Of a long journal only what was written last is read: calls take seconds.
    """
    with (folder / f"{name}-{pid}.jsonl").open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - NEWEST))
        # The first line may be a part of one, and the last one may be in the making.
        lines = file.read().rpartition(b"\n")[0].splitlines()[1:]
    calls: dict[str, str] = {}
    for line in map(json.loads, lines):
        if line["what"] == "call":
            calls[line["run"]] = line["job"]
        elif line["what"] == "return":
            calls.pop(line["run"], None)
    return set(calls.values())


_journals: dict[int, Journal] = {}


def journal() -> Journal:
    """Return the journal of this process."""
    pid = os.getpid()
    if pid not in _journals:
        _journals[pid] = Journal(Path(os.environ[FOLDER]), os.environ[NAME])
    return _journals[pid]


def micros(moment: datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)
