"""States of jobs that are stored alike, unpickled without what they have in common.

A store may hold thousands of jobs, but it holds few kinds of them: their states differ in id,
arguments, name and moments, and most of the time that it takes to unpickle one goes into all the
rest. A mould is made of one state, and holds that rest: its bytes, and what they mean. Another
state with the same bytes at the same places is cast in it: only what stands between is read.
What is anything else than expected is left to pickle, which also says what is wrong with it; an
argument whose making has failed is then made once more. Jobs of one mould share time zones and the
fields of cron triggers, which nobody is to change.

How moulds are made is in `_moulding.py`.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from operator import itemgetter
from struct import Struct
from typing import Any, Final
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

Pieces = tuple[bytes, ...]

#: How a state begins: protocol, length of its only frame, all up to the id, and the id's length.
_BEGIN: Final = Struct("<3sQ21sB")
_PROTOCOLS: Final = frozenset({b"\x80\x04\x95", b"\x80\x05\x95"})
_FRAME_AT: Final = 11
#: Of longer ones, most is arguments, which have to be unpickled anyway.
_LONGEST: Final = 2048
UP_TO_THE_ID: Final = b"}\x94(\x8c\x07version\x94K\x01\x8c\x02id\x94\x8c"
#: How many bytes of a datetime are stored beside its time zone.
PAYLOAD: Final = 10
#: The first so many objects of a state are referred to by what is no part of a text.
_FIRST: Final = 32
_REFERENCE_TO_FIRST: Final = re.compile(rb"h[\x00-\x1f]")

#: How many bytes after the id tell most kinds of jobs apart.
_FRONT: Final = 64
#: How many layouts may have the same front, and how many moulds there may be.
_MOST_LAYOUTS: Final = 4
_MOST_MOULDS: Final = 1000
#: One state in so many is made a mould of; that takes as long as to unpickle about thirty.
_PAUSE: Final = 61
#: How many times that is done before it has been of use, and how much use pays for once more.
_ADVANCE: Final = 32
_PRICE: Final = 128
#: How many states more than it is of use for a mould may be in vain for.
_PATIENCE: Final = 16


class Moulds:
    """Moulds of the states that are read again and again.

    Threads may share them: the worst that comes of it is that a mould is made twice.

    :param make: makes a layout and a mould of the bytes after the id of a state, and of what it
        holds; raises an error if there is no mould of it
    """

    def __init__(self, make: Callable[[bytes, Any], tuple[Layout, Mould]]) -> None:
        self._make = make
        self._layouts: dict[bytes, list[Layout]] = {}
        self._unpickled = self._tried = 0

    def loads(self, state: bytes) -> Any:
        """Return what `pickle.loads` returns of the state of a job, or raise what that raises."""
        if self._layouts and type(state) is bytes and _BEGIN.size < len(state) <= _LONGEST:
            protocol, length, begin, id_length = _BEGIN.unpack_from(state)
            rest = state[_BEGIN.size + id_length :]
            for layout in self._layouts.get(rest[:_FRONT], ()):
                mould = layout.moulds.get(layout.common(rest))
                if mould is None:
                    continue
                if not (
                    begin == UP_TO_THE_ID
                    and length == len(state) - _FRAME_AT
                    and protocol in _PROTOCOLS
                ):
                    break
                try:
                    return mould.cast(
                        state[_BEGIN.size : -len(rest)],
                        rest[layout.arguments],
                        layout.payloads(rest),
                    )
                except Exception:
                    # Either this job does not fit, or something is wrong with it: then that is
                    # raised below.
                    mould.failures += 1
                    if mould.failures > mould.uses + _PATIENCE:
                        self._layouts.pop(rest[:_FRONT], None)
                    break
        parts = pickle.loads(state)
        self._unpickled += 1
        if self._unpickled >= _PAUSE:
            self._unpickled = 0
            with suppress(Exception):  # There is no mould of everything.
                self._learn(state, parts)
        return parts

    def _learn(self, state: bytes, parts: Any) -> None:
        protocol, length, begin, id_length = _BEGIN.unpack_from(state)
        if (
            len(state) > _LONGEST
            or begin != UP_TO_THE_ID
            or not id_length
            or length != len(state) - _FRAME_AT
            or protocol not in _PROTOCOLS
        ):
            return
        rest = state[_BEGIN.size + id_length :]
        same_front = self._layouts.get(rest[:_FRONT], [])
        if any(layout.common(rest) in layout.moulds for layout in same_front):
            return
        layouts = [layout for some in self._layouts.values() for layout in some]
        moulds = [mould for layout in layouts for mould in layout.moulds.values()]
        if self._tried >= _ADVANCE + sum(mould.uses * mould.worth for mould in moulds) // _PRICE:
            # To look for moulds takes time, too.
            self._layouts = {
                front: used
                for front, some in self._layouts.items()
                if (used := [layout for layout in some if layout.is_used()])
            }
            return
        self._tried += 1
        made, mould = self._make(rest, parts)
        if len(moulds) >= _MOST_MOULDS:
            self._layouts, self._tried, same_front = {}, 0, []
        layout = next((known for known in same_front if known.places == made.places), made)
        if layout is made:
            self._layouts[rest[:_FRONT]] = [*same_front[1 - _MOST_LAYOUTS :], made]
        layout.moulds[layout.common(rest)] = mould


class Layout:
    """Where in the bytes after the id is what, and the moulds of the states where it is there.

    :param front: where the arguments begin
    :param back: where the name ends, counted from the end
    :param moments: where the payloads of datetimes begin; after the name, counted from the end
    """

    __slots__ = ("arguments", "common", "moulds", "payloads", "places")

    def __init__(self, front: int, back: int, moments: Sequence[int]) -> None:
        self.places = front, back, *moments
        self.arguments = slice(front, back)
        self.payloads = _pieces([slice(place, place + PAYLOAD) for place in moments])
        before, after = [0], [back]
        for place in moments:
            (before if place > 0 else after).extend((place, place + PAYLOAD))
        edges = [*before, front, *after, 0]
        self.common = _pieces(
            [slice(begin, end or None) for begin, end in zip(edges[::2], edges[1::2], strict=True)]
        )
        self.moulds: dict[Pieces, Mould] = {}

    def is_used(self) -> bool:
        return any(mould.uses for mould in self.moulds.values())


class Mould:
    """What states hold whose common bytes are the same.

    :param parts: what such a state holds
    :param filled: the datetimes among the settings of its trigger, and which payload each is of
    :param next_run_time: which payload the next run time is of; None if it is of none
    :param zones: the time zones of the payloads
    :param objects: of each object that is stored before the arguments, whether it is the text
        "name": then that is not spelt out again where the name stands
    """

    __slots__ = (
        "_before", "_filled", "_lists_fields", "_next", "_parts", "_reference", "_settings",
        "_trigger", "_zone_infos", "_zones", "failures", "uses", "worth",
    )  # fmt: skip

    def __init__(
        self,
        parts: dict[str, Any],
        filled: Sequence[tuple[str, int]],
        next_run_time: int | None,
        zones: Sequence[Any],
        objects: Sequence[bool],
    ) -> None:
        self._parts = parts
        self._trigger: Any = type(parts["trigger"])
        self._settings = parts["trigger"].__getstate__()
        self._lists_fields = "fields" in self._settings
        self._filled = tuple(filled)
        self._next = next_run_time
        self._zones = tuple(zones)
        all_zones = {*zones, self._settings.get("timezone")}
        self._zone_infos = [(zone.key, zone) for zone in all_zones if isinstance(zone, ZoneInfo)]
        # Read alone, arguments and name refer to each other by the same numbers, if so many
        # objects are there before.
        fillers = [b"\x8c\x04name\x94N" if is_name else b"\x94" for is_name in objects]
        self._before = b"\x80\x05N" + b"".join(fillers)
        others = bytes(number for number, is_name in enumerate(objects) if not is_name)
        self._reference = re.compile(b"h[%b]" % re.escape(others))
        self.uses = self.failures = 0
        # Compared with other kinds of triggers, a cron trigger takes so much longer to unpickle.
        self.worth = 16 if self._trigger is CronTrigger else 1

    def cast(self, job_id: bytes, stored: bytes, payloads: Pieces) -> dict[str, Any]:
        """Return what the state of a job holds.

        :param stored: its arguments and its name
        :raises Exception: anything, if they do not fit
        """
        # The arguments come last: to make them may take code of users.
        for key, zone in self._zone_infos:
            if ZoneInfo(key) is not zone:
                self.failures += self.uses + _PATIENCE  # It never fits again.
                raise ValueError(f"the rules of {key} have been read anew")
        moments = list(map(_moment, payloads, self._zones))
        parts = self._parts.copy()
        parts["id"] = job_id.decode()
        parts["args"], kwargs, parts["kwargs"], name, parts["name"] = self._alone(stored)
        if kwargs != "kwargs" or name != "name":
            raise ValueError("these are not the arguments and the name")
        settings = self._settings.copy()
        if self._lists_fields:
            settings["fields"] = list(settings["fields"])
        for key, number in self._filled:
            settings[key] = moments[number]
        # Not one for all: somebody may change it in place.
        trigger = self._trigger.__new__(self._trigger)
        trigger.__setstate__(settings)
        parts["trigger"] = trigger
        if self._next is not None:
            parts["next_run_time"] = moments[self._next]
        self.uses += 1
        return parts

    def _alone(self, stored: bytes) -> Any:
        """Return arguments and name, each of the latter two after what it is called."""
        if stored.find(b"h") >= 0 or stored.find(b"j") >= 0:
            if self._reference.search(stored) is None:
                return pickle.loads(b"%b(%bt." % (self._before, stored))
            # What was found may be part of a text. If so, nothing needs to be there before; if
            # not, there is no such object now, and pickle says so.
            if stored.count(b"\x94") > _FIRST or _REFERENCE_TO_FIRST.search(stored) is not None:
                raise ValueError("they may refer to other parts of the state")
        return pickle.loads(b"\x80\x05(%bt." % stored)


def _pieces(slices: Sequence[slice]) -> Callable[[bytes], Pieces]:
    """Return a function that cuts some pieces out of bytes."""
    if len(slices) > 1:
        return itemgetter(*slices)
    return lambda whole: tuple([whole[piece] for piece in slices])


_moment: Callable[[bytes, Any], datetime] = datetime  # type: ignore[assignment]  # as pickle does
