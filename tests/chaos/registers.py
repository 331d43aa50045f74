"""Whether edits are lost: each attribute of a job is a register that several write and read.

A value may be read if somebody has written it, and if nobody is certain to have written another
one since. What was asked for and not confirmed may be carried out at any time, or never.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from chaos.history import FOREVER, Edit, History, Reading

#: Whether there is a job at all. Before anybody has added it there is none.
EXISTS = "exists"


class Register:
    """An attribute of a job.

    :param edits: all edits of the job, also those that do not set it
    """

    def __init__(self, attribute: str, edits: Sequence[Edit]) -> None:
        self._attribute = attribute
        self.writes = [edit for edit in edits if attribute in edit.sets]
        whole = [edit for edit in edits if edit.whole]
        self._certain = [
            write for write in self.writes if write.acked and not _undone(write, whole)
        ]

    def may_be_read(self, value: object, reading: Reading) -> bool:
        """Tell whether a value may be what a reading has found."""
        earlier = [write.asked for write in self._certain if write.end < reading.asked]
        # What ended before this moment has been overwritten.
        latest = max(earlier, default=-FOREVER)
        if self._attribute == EXISTS and value is False and not earlier:
            return True
        return any(
            write.sets[self._attribute] == value and write.asked <= reading.done
            for write in self.writes
            if write.end >= latest
        )


def lost_edits(history: History) -> Iterator[str]:
    by_job: dict[str, list[Edit]] = defaultdict(list)
    for edit in history.edits:
        by_job[edit.job].append(edit)
    registers: dict[tuple[str, str], Register] = {}
    for reading in (*history.readings, *history.final):
        read = {EXISTS: reading.values is not None, **(reading.values or {})}
        for attribute, value in read.items():
            key = reading.job, attribute
            if key not in registers:
                registers[key] = Register(attribute, by_job[reading.job])
            register = registers[key]
            # Of an attribute that nobody sets there is nothing to tell.
            if register.writes and not register.may_be_read(value, reading):
                before = [write for write in register.writes if write.asked <= reading.done]
                yield (
                    f"{reading.who} read {attribute} of {reading.job} as {value!r} at "
                    f"{reading.done:.3f}, after {'; '.join(map(str, before[-3:]))}"
                )


def _undone(write: Edit, whole: Sequence[Edit]) -> bool:
    """Tell whether 3.11.3 may have written back what it had read before an edit of ours."""
    return not write.whole and any(
        other.asked <= write.end and (other.done is None or other.done >= write.asked)
        for other in whole
    )
