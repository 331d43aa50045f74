"""How a mould is made of the state of a job, without running any code of users.

What is common to many states is read without arguments, once as it is and once with other
moments: what has changed then is where these go. At last both are cast, and must be the same.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from apscheduler.jobstores._moulds import PAYLOAD, UP_TO_THE_ID, Layout, Mould
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

#: Triggers that do not change when they are asked.
UNCHANGING: Final = frozenset({CalendarIntervalTrigger, CronTrigger, DateTrigger, IntervalTrigger})

#: The items of a state, in the order in which 3.x stores them.
_ITEMS: Final = (
    "version", "id", "func", "trigger", "executor", "args", "kwargs", "name",
    "misfire_grace_time", "coalesce", "max_instances", "next_run_time",
)  # fmt: skip
_OF_EACH_JOB: Final = frozenset({"id", "args", "kwargs", "name"})
#: What stands before the arguments, and after the name.
_ARGS: Final = b"\x8c\x04args\x94"
_MISFIRE: Final = b"\x8c\x12misfire_grace_time\x94"
#: The least that may stand between them, and before all of it.
_NOTHING: Final = b")\x8c\x06kwargs\x94}\x94\x8c\x04name\x94\x8c\x00\x94"
_NOBODY: Final = b"\x80\x05" + UP_TO_THE_ID + b"\x00"

Loads = Callable[[bytes], Any]


def mould_of(rest: bytes, wanted: Any, harmless: Loads) -> tuple[Layout, Mould]:
    """Return a mould of a state, tried out, and where its moments are.

    :param rest: the bytes of the state after the id
    :param wanted: what it holds
    :param harmless: unpickles what takes no code of users, and refuses all else
    :raises Exception: anything, if there is none
    """
    if type(wanted["trigger"]) not in UNCHANGING or tuple(wanted) != _ITEMS:
        raise ValueError("this is no job of a usual kind")
    front = rest.index(_ARGS) + len(_ARGS)
    back = rest.rindex(_MISFIRE) - len(rest)
    bare = rest[:front] + _NOTHING + rest[back:]
    places, objects = _survey(bare, front, back)
    layout = Layout(front, back, places)

    others = [payload_of(datetime(2001, 2, 3, 4, 5, 6, number)) for number in range(len(places))]
    changed = bytearray(bare)
    for place, payload in zip(places, others, strict=True):
        place %= len(bare)
        changed[place : place + PAYLOAD] = payload
    parts, moved = harmless(_NOBODY + bare), harmless(_NOBODY + changed)
    mould = _proposed(parts, moved, others, objects)

    for item in _ITEMS:
        if item not in _OF_EACH_JOB:
            _check_same(parts[item], wanted[item])
    _check_same(mould.cast(b"", _NOTHING, layout.payloads(bare)), parts)
    _check_same(mould.cast(b"", _NOTHING, tuple(others)), moved)
    mould.uses = 0
    return layout, mould


def _proposed(
    parts: dict[str, Any], moved: dict[str, Any], payloads: list[bytes], objects: list[bool]
) -> Mould:
    """Return a mould, by what has changed with the payloads."""
    settings = parts["trigger"].__getstate__()
    filled, zones = [], {}
    for key, value in moved["trigger"].__getstate__().items():
        if type(value) is datetime and payload_of(value) in payloads:
            number = payloads.index(payload_of(value))
            filled.append((key, number))
            zones[number] = settings[key].tzinfo
    next_run_time = None
    moment = moved["next_run_time"]
    if moment is not None and payload_of(moment) in payloads:
        next_run_time = payloads.index(payload_of(moment))
        zones[next_run_time] = parts["next_run_time"].tzinfo
    in_order = [zones[number] for number in range(len(payloads))]
    return Mould(parts, filled, next_run_time, in_order, objects)


def _survey(bare: bytes, front: int, back: int) -> tuple[list[int], list[bool]]:
    """Return where payloads of datetimes are, and which objects before `front` are "name".

    :param front: where the arguments begin
    :param back: where the name ends, counted from the end, as are the places behind it
    """
    from pickletools import genops

    end = len(bare) + back
    edges = {front, end}
    places: list[int] = []
    objects: list[bool] = []
    last: Any = None
    for opcode, value, position in genops(_NOBODY + bare):
        argument: Any = value
        place = (position or 0) - len(_NOBODY)
        edges.discard(place)
        if opcode.name == "MEMOIZE" and place < front:
            objects.append(last == "name")
        elif opcode.name == "SHORT_BINBYTES" and len(argument) == PAYLOAD:
            # After the opcode, and the byte that says how many there are.
            places.append(place + 2 - (len(bare) if place >= end else 0))
        elif "PUT" in opcode.name or (
            "GET" in opcode.name and place >= end and argument >= len(objects)
        ):
            # How many objects there are in arguments and name is not the same for all.
            raise ValueError("it refers to what may be something else")
        last = argument
    if edges:
        raise ValueError("something else looks as the names of items do")
    return places, objects


def _check_same(one: Any, other: Any) -> None:
    if pickle.dumps(one) != pickle.dumps(other):
        raise ValueError("there is more to it than is known here")


def payload_of(moment: datetime) -> bytes:
    """Return the bytes in which a datetime is stored, but for its time zone."""
    made_of: Any = moment.__reduce_ex__(4)[1]
    payload: bytes = made_of[0]
    return payload
