"""Jobs as bytes: a pickle that holds exactly what 3.x puts there, and beside it what 3.x ignores.

Used by every job store that keeps jobs outside of this process.
"""

from __future__ import annotations

import json
import pickle
import sys
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import Any, Final
from zlib import crc32

from apscheduler.job import Job
from apscheduler.jobstores._moulding import UNCHANGING, mould_of, payload_of
from apscheduler.jobstores._moulds import Moulds

#: Modules whose classes are made without running code of users, importing it, or waiting.
_OUR_OWN = "apscheduler.triggers."
_HARMLESS_MODULES = frozenset(
    {"_codecs", "collections", "copyreg", "datetime", "pytz", "zoneinfo"}
)
_HARMLESS_BUILTINS = frozenset(
    {
        "bool",
        "bytearray",
        "bytes",
        "complex",
        "dict",
        "float",
        "frozenset",
        "getattr",
        "int",
        "list",
        "object",
        "range",
        "set",
        "slice",
        "str",
        "tuple",
    }
)
_KEY: Final = b"next_run_time"
#: How many bytes may lie between that and the payload: the class, spelt out or as a reference.
_LONGEST_WAY: Final = 64
#: What stands round the payload, and whether the payload alone may be replaced there.
_shapes: dict[tuple[bytes, bytes], bool] = {}
_MOST_SHAPES: Final = 1000


class NotHarmlessError(Exception):
    """To restore a job would run code of users, or import it."""


def dump(job: Job, protocol: int) -> bytes:
    """Return a job as 3.x stores it.

    :raises ValueError: if no text leads to the job's callable
    """
    return pickle.dumps(job.__getstate__(), protocol)


def load(state: bytes) -> Job:
    """Return the job that is stored so; whatever its parts do when they are made is done."""
    return _made(_moulds.loads(state))


def load_harmless(state: bytes) -> Job:
    """Return the job that is stored so, if that neither runs nor imports code of users.

    :raises NotHarmlessError: if it would
    """
    parts = _harmless(state)
    module = sys.modules.get(parts["func"].partition(":")[0])
    if module is None or getattr(module.__spec__, "_initializing", False):
        raise NotHarmlessError(parts["func"])
    return _made(parts)


def _made(parts: dict[str, Any]) -> Job:
    job = Job.__new__(Job)
    job.__setstate__(parts)
    return job


def dump_moved(job: Job, state: bytes, before: datetime, protocol: int) -> bytes:
    """Return a job as 3.x stores it, whose next run time alone has changed.

    That is ten bytes of many: to replace them takes a tenth of the time that `dump` takes.

    :param state: how it was stored
    :param before: its next run time then
    """
    after = job.next_run_time
    if (
        type(after) is datetime
        and type(before) is datetime
        and after.tzinfo is before.tzinfo
        and type(job.trigger) in UNCHANGING
        and state[1] == protocol
    ):
        moved = _moved(state, before, after)
        if moved is not None:
            return moved
    return dump(job, protocol)


def _moved(state: bytes, before: datetime, after: datetime) -> bytes | None:
    # It is the last that is stored. The text that names it stands before it, unless something
    # else in the job is the same text, or the same moment: then another shape follows.
    key = state.rfind(_KEY)
    payload = payload_of(before)
    place = state.find(payload, key)
    if key < 0 or place < 0 or place - key > _LONGEST_WAY:
        return None
    rest = place + len(payload)
    moved = state[:place] + payload_of(after) + state[rest:]
    # What the last instructions do with the payload depends on nothing before them.
    shape = state[key:place], state[rest:]
    known = _shapes.get(shape)
    if known is None:
        try:
            known = _differ_in_next_run_time_alone(state, moved, after)
        except NotHarmlessError:
            return None
        except Exception:
            # Before protocol 3, bytes are stored as text, and not all of them are one byte there.
            known = False
        if len(_shapes) >= _MOST_SHAPES:
            _shapes.clear()
        _shapes[shape] = known
    return moved if known else None


def _differ_in_next_run_time_alone(state: bytes, moved: bytes, after: datetime) -> bool:
    parts, others = _harmless(state), _harmless(moved)
    del parts["next_run_time"]
    found = others.pop("next_run_time")
    return (
        type(found) is datetime
        and payload_of(found) == payload_of(after)
        and found.utcoffset() == after.utcoffset()
        and list(parts) == list(others)
        and all(pickle.dumps(parts[name]) == pickle.dumps(others[name]) for name in parts)
    )


def digest(state: bytes) -> str:
    """Return at most 16 characters that tell one content of a job from another."""
    return f"{crc32(state):08x}{len(state):x}"


def dump_options(job: Job) -> str | None:
    """Return those options of a job that 3.x does not know, None if none is set."""
    options = job._options
    return None if options is None else json.dumps(options, separators=(",", ":"))


def load_options(job: Job, text: str | None) -> None:
    """Set the options of a job that stand beside its state."""
    job._options = None if text is None else json.loads(text)


def join(state: bytes, options: str | None) -> bytes:
    """Return state and options as one, for where there is room for one only."""
    # A pickle never begins with a brace, and the text has no line breaks.
    return state if options is None else options.encode() + b"\n" + state


class Stored:
    """A job that stays as it is stored: nothing of it is made but what stands beside its state.

    :param definition: state and options, joined
    """

    __slots__ = ("definition",)

    def __init__(self, definition: bytes) -> None:
        self.definition = definition

    @property
    def recover(self) -> bool:
        """Whether a run is repeated if the process that was running it dies."""
        _, options = split(self.definition)
        return options is not None and json.loads(options).get("recover", False)


def split(definition: bytes) -> tuple[bytes, str | None]:
    """Return the state and the options that were joined."""
    if not definition.startswith(b"{"):
        return definition, None
    options, _, state = definition.partition(b"\n")
    return state, options.decode()


class _Harmless(pickle.Unpickler):
    _known: dict[tuple[str, str], Any] = {}  # noqa: RUF012  # what is found is the same for all

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._known[module, name]
        except KeyError:
            pass
        if not (
            module in _HARMLESS_MODULES
            or (module in {"builtins", "__builtin__"} and name in _HARMLESS_BUILTINS)
            or module.startswith(_OUR_OWN)
        ):
            raise NotHarmlessError(f"{module}:{name}")
        found = self._known[module, name] = super().find_class(module, name)
        return found


def _harmless(state: bytes) -> Any:
    return _Harmless(BytesIO(state)).load()


_moulds: Final = Moulds(partial(mould_of, harmless=_harmless))
