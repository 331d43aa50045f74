"""What is cast in a mould is what pickle makes of the same state."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import partial
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytz
from golden import GOLDEN, Golden
from hypothesis import given, settings
from hypothesis import strategies as st
from sql_kit import HOUR, NOON, job, work

from apscheduler.job import Job
from apscheduler.jobstores import _moulds, _pickled
from apscheduler.jobstores._moulding import mould_of
from apscheduler.jobstores._moulds import Mould, Moulds
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

HELSINKI = ZoneInfo("Europe/Helsinki")


@pytest.fixture(autouse=True, scope="module")
def every_state_is_learnt_from() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_moulds, "_PAUSE", 1)
        patch.setattr(_moulds, "_ADVANCE", 1_000_000)
        yield


def new_moulds() -> Moulds:
    return Moulds(partial(mould_of, harmless=_pickled._harmless))


def all_of(moulds: Moulds) -> list[Mould]:
    return [
        mould
        for layouts in moulds._layouts.values()
        for layout in layouts
        for mould in layout.moulds.values()
    ]


def casts(moulds: Moulds) -> int:
    return sum(mould.uses for mould in all_of(moulds))


def state_of(id: str = "j", protocol: int = 5, **attributes: Any) -> bytes:
    return _pickled.dump(job(id, **attributes), protocol)


def check(moulds: Moulds, state: bytes) -> bool:
    """Compare what is made of a state with what pickle makes of it; tell if it was cast."""
    before = casts(moulds)
    found, wanted = _pickled._made(moulds.loads(state)), _pickled._made(pickle.loads(state))
    assert _pickled.dump(found, 5) == _pickled.dump(wanted, 5)
    assert described(found) == described(wanted)
    return casts(moulds) > before


def described(job: Job) -> str:
    state = job.__getstate__()
    trigger = state.pop("trigger")
    return repr((state, type(trigger), trigger.__getstate__()))


# -- any jobs -----------------------------------------------------------------------------------

ZONES = [
    UTC,
    HELSINKI,
    ZoneInfo("America/New_York"),
    timezone(timedelta(hours=5, minutes=30)),
    timezone(timedelta(hours=5), "named"),
    pytz.timezone("Asia/Tokyo"),
    pytz.utc,
]
zones = st.sampled_from(ZONES)


def moments_in(*some: tzinfo) -> st.SearchStrategy[datetime]:
    return st.builds(
        lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
        st.datetimes(datetime(1971, 1, 1), datetime(2500, 1, 1)),
        st.sampled_from(some),
        st.sampled_from([0, 1]),
    )


def triggers_in(zone: tzinfo) -> st.SearchStrategy[BaseTrigger]:
    moments = moments_in(zone)
    maybe = st.one_of(st.none(), moments)
    return st.one_of(
        st.builds(DateTrigger, moments),
        st.builds(
            IntervalTrigger,
            hours=st.integers(1, 500),
            start_date=moments,
            end_date=maybe,
            jitter=st.sampled_from([None, 3]),
        ),
        st.builds(
            CronTrigger,
            minute=st.sampled_from(["*/5", 3]),
            start_date=maybe,
            end_date=maybe,
            timezone=st.just(zone),
        ),
        st.builds(
            CalendarIntervalTrigger,
            days=st.integers(1, 3),
            start_date=st.dates(date(1971, 1, 1), date(2500, 1, 1)),
            timezone=st.just(zone),
        ),
        st.builds(lambda moment: OrTrigger([DateTrigger(moment)]), moments),
    )


texts = st.sampled_from(
    ["next_run_time", "misfire_grace_time", "name", "args", "kwargs", "a", "h\x03", "the !", "C\n"]
)
values = st.recursive(
    st.one_of(
        st.none(),
        st.integers(),
        st.floats(),
        st.text(),
        st.binary(),
        texts,
        moments_in(*ZONES),
        zones,
    ),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(texts, inner), st.tuples(inner, inner)
    ),
    max_leaves=8,
)


def jobs_in(zone: tzinfo) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "id": st.one_of(st.text(min_size=1, max_size=191), texts),
            "next_run_time": st.one_of(st.none(), moments_in(zone), moments_in(zone, UTC)),
            "trigger": triggers_in(zone),
            "executor": st.sampled_from(["default", "args", "ä"]),
            "args": st.lists(values, max_size=3).map(tuple),
            "kwargs": st.dictionaries(texts, values, max_size=3),
            "name": st.one_of(texts, st.text(min_size=1, max_size=300)),
            "misfire_grace_time": st.sampled_from([None, 1, 300]),
            "coalesce": st.booleans(),
        }
    )


def like(attributes: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the attributes of another job of that kind."""
    if number == 1:
        return {**attributes, "id": "1", "args": (number,), "kwargs": {}, "name": "the h "}
    # The very same objects may stand in several places.
    found = dict(attributes)
    trigger = found["trigger"]
    moment = getattr(trigger, "run_date", None) or getattr(trigger, "end_date", None)
    if isinstance(moment, datetime):
        found["next_run_time"] = moment
    found["args"] = found["id"], moment, found["name"], found["args"], found["args"]
    found["name"] = found["executor"]
    return found


@settings(max_examples=50)
@given(
    st.lists(zones.flatmap(jobs_in), min_size=1, max_size=3),
    st.sampled_from([5, 4, 2]),
    st.integers(0, 99),
)
def test_any_jobs(drawn: list[dict[str, Any]], protocol: int, seed: int) -> None:
    moulds = new_moulds()
    states = [
        state_of(protocol=protocol, **attributes)
        for first in drawn
        for attributes in (first, like(first, 1), like(first, 2))
    ]
    # In any order, and twice: the second time there are moulds of all.
    Random(seed).shuffle(states)
    for state in states + states:
        check(moulds, state)


# -- ordinary ones ------------------------------------------------------------------------------


def trigger_of(kind: str, moment: datetime, zone: Any) -> BaseTrigger:
    match kind:
        case "date":
            return DateTrigger(moment)
        case "interval":
            return IntervalTrigger(hours=1, start_date=moment, timezone=zone)
        case "cron":
            return CronTrigger(hour=3, start_date=moment, timezone=zone)
        case _:
            return CalendarIntervalTrigger(days=1, start_date="2026-01-01", timezone=zone)


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("zone", [UTC, HELSINKI, timezone(HOUR), pytz.timezone("Asia/Tokyo")])
@pytest.mark.parametrize("kind", ["date", "interval", "cron", "calendarinterval"])
@pytest.mark.parametrize("coming", ["next", "none", "first"])
def test_all_but_the_first_of_a_kind_are_cast(
    kind: str, zone: Any, protocol: int, coming: str
) -> None:
    moulds = new_moulds()
    cast = []
    for number in range(3):
        moment = (NOON + number * HOUR).astimezone(zone)
        trigger = trigger_of(kind, moment, zone)
        first = getattr(trigger, "run_date", None) or getattr(trigger, "start_date", None)
        if not isinstance(first, datetime):
            first = None  # the first day of a CalendarIntervalTrigger
        state = state_of(
            f"jöb {number}" * (number + 1),
            protocol,
            trigger=trigger,
            args=(number,),
            name=f"print {number * 'x'}",
            next_run_time={"next": moment + HOUR, "none": None, "first": first}[coming],
        )
        cast.append(check(moulds, state))
    assert cast == [False, True, True]


#: A text that is stored once, however often it stands in the arguments of a job.
SAME = "".join(["sa", "me"])


@pytest.mark.parametrize("kind", ["interval", "cron"])
@pytest.mark.parametrize(
    ("args", "is_cast"),
    [
        ((), True),
        ((1, "a", 2.5, None, b"x", {1, 2}, [3], {"b": 4}, 10**30), True),
        ((b"x" * 900,), True),
        # These refer to each other, but to nothing else.
        ((SAME, SAME, [{SAME: 1}, {SAME: 2}]), True),
        # These look as if they did.
        (("h",), True),
        ((b"h\x01",), False),
        (tuple(f"h!{number}" for number in range(100)), False),
        # These do, too.
        ((SAME, SAME, "h!"), False),
        # These refer to what is stored before.
        ((NOON,), False),
        (({"id": 1},), False),
        (("default", "trigger"), False),
        # Of these there is so much that the rest does not matter.
        (("x" * 2000,), False),
    ],
)
def test_arguments_are_read_alone_if_they_can_be(
    kind: str, args: tuple[Any, ...], is_cast: bool
) -> None:
    moulds = new_moulds()
    trigger = trigger_of(kind, NOON, UTC)
    moulds.loads(state_of("an id", trigger=trigger))
    assert check(moulds, state_of(trigger=trigger, args=args)) is is_cast
    assert check(moulds, state_of(trigger=trigger, kwargs={"x": args})) is is_cast


def test_arguments_of_hundreds_of_objects_refer_to_each_other_as_they_did() -> None:
    moulds = new_moulds()
    # Without the byte that refers to one of the first 256, but with the one for all others.
    cells = [[number % 100] for number in range(300)]
    state = state_of("y", args=(cells, cells[250], cells[260]), name="x")
    assert b"h" not in state[state.index(b"args") : state.rindex(b"misfire")]
    assert len(state) <= _moulds._LONGEST
    check(moulds, state_of(name="x"))
    assert check(moulds, state)


@pytest.mark.parametrize(
    "name", ["the h", "misfire_grace_time", "args", "\x94", "ääh!", "x" * 300]
)
def test_any_name_is_read(name: str) -> None:
    moulds = new_moulds()
    moulds.loads(state_of("an id"))
    assert check(moulds, state_of(name=name[:1] + name[1:]))


@pytest.mark.parametrize("attribute", ["args", "executor", "name"])
def test_the_very_text_that_is_the_id_may_stand_elsewhere(attribute: str) -> None:
    moulds = new_moulds()
    for id in ("first job", "second job"):
        check(moulds, state_of(id, **{attribute: (id,) if attribute == "args" else id}))
        check(moulds, state_of(id))


def test_both_passes_of_an_hour_that_occurs_twice_are_told_apart() -> None:
    moulds = new_moulds()
    night = datetime(2026, 10, 25, 3, 30, tzinfo=HELSINKI)
    for moment in (night, night.replace(fold=1)):
        check(moulds, state_of(next_run_time=moment))
    assert casts(moulds) == 1


def test_a_moment_that_stands_in_several_places_is_read_into_all() -> None:
    moulds = new_moulds()
    for moment in (NOON, NOON + HOUR):
        trigger = IntervalTrigger(hours=1, start_date=moment, timezone=UTC)
        trigger.start_date = trigger.end_date = moment
        check(moulds, state_of(next_run_time=moment, trigger=trigger))
    assert casts(moulds) == 1


def with_id(state: bytes, before: str, after: str) -> bytes:
    """Return a state under an id of another length."""
    stored = [b"\x8c" + bytes([len(id)]) + id.encode() for id in (before, after)]
    assert state.count(stored[0]) == 1
    state = state.replace(*stored)
    return state[:3] + (len(state) - 11).to_bytes(8, "little") + state[11:]


@pytest.mark.parametrize("golden", GOLDEN)
def test_states_of_3_11_3_are_cast(golden: Golden) -> None:
    moulds = new_moulds()
    state = base64.b64decode(golden.blob)
    cast = [check(moulds, state), check(moulds, with_id(state, golden.name, "another"))]
    assert cast == [False, golden.text.partition("[")[0] not in {"and", "or"}]


# -- each on its own ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["date", "interval", "cron", "calendarinterval"])
def test_a_job_that_is_changed_in_place_changes_no_other(kind: str) -> None:
    moulds = new_moulds()
    state = state_of(trigger=trigger_of(kind, NOON, UTC), kwargs={"a": []})
    wanted = described(_pickled._made(pickle.loads(state)))
    for _ in range(3):
        found = _pickled._made(moulds.loads(state))
        assert described(found) == wanted
        trigger: Any = found.trigger
        for attribute in ("start_date", "end_date", "run_date", "jitter", "fields", "days"):
            with suppress(AttributeError):
                setattr(trigger, attribute, 7)
        found.kwargs["a"].append(1)
    assert casts(moulds) == 2


def test_the_list_of_fields_belongs_to_one_trigger_alone() -> None:
    moulds = new_moulds()
    states = [state_of(str(n), trigger=CronTrigger(hour=3, timezone=UTC)) for n in range(3)]
    for state in states:
        moulds.loads(state)
    moulds.loads(states[0])["trigger"].fields.clear()
    assert check(moulds, states[1])


@pytest.mark.parametrize("kind", [bytearray, lambda state: memoryview(bytearray(state))])
def test_what_pickle_takes_beside_bytes_is_taken_too(kind: Callable[[bytes], Any]) -> None:
    moulds = new_moulds()
    for _ in range(3):
        moulds.loads(state_of())
    assert _pickled.dump(_pickled._made(moulds.loads(kind(state_of()))), 5) == state_of()


def test_what_is_no_state_at_all_is_refused_as_pickle_refuses_it() -> None:
    moulds = new_moulds()
    for _ in range(3):
        moulds.loads(state_of())
    for nothing in None, 3, "text":
        with pytest.raises(TypeError) as error:
            pickle.loads(nothing)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=str(error.value)):
            moulds.loads(nothing)  # type: ignore[arg-type]


def test_a_job_without_an_id_teaches_nothing() -> None:
    moulds = new_moulds()
    text = ""
    parts = {**pickle.loads(state_of()), "id": text, "executor": text}
    for _ in range(3):
        moulds.loads(pickle.dumps(parts, 5))
    parts["id"] = parts["executor"] = "pool"
    assert moulds.loads(pickle.dumps(parts, 5))["executor"] == "pool"
    assert not all_of(moulds)


def test_a_mould_of_a_zone_that_is_gone_is_given_up_at_once() -> None:
    key = "Atlantic/Jan_Mayen"  # which no other test holds
    moulds = new_moulds()
    state = state_of(trigger=trigger_of("interval", NOON, ZoneInfo(key)))
    for _ in range(50):
        moulds.loads(state)
    (mould,) = all_of(moulds)
    ZoneInfo.clear_cache(only_keys=[key])
    moulds.loads(state)
    assert mould not in all_of(moulds)


def test_time_zones_that_are_read_anew_are_noticed() -> None:
    key = "Europe/Mariehamn"  # which no other test holds
    before = ZoneInfo(key)
    moulds = new_moulds()
    states = [
        state_of(trigger=trigger_of(kind, NOON, UTC), next_run_time=NOON.astimezone(before))
        for kind in ("interval", "date")
    ]
    states.append(state_of(trigger=trigger_of("cron", NOON, before)))
    for state in states + states:
        moulds.loads(state)
    ZoneInfo.clear_cache(only_keys=[key])
    for state in states:
        found, zone = moulds.loads(state), ZoneInfo(key)
        trigger = found["trigger"]
        found_zone = getattr(trigger, "timezone", UTC)
        if found_zone is UTC:
            found_zone = found["next_run_time"].tzinfo
        assert found_zone is zone is not before


# -- what is left to pickle ---------------------------------------------------------------------

made: list[int] = []


class Counted:
    """A class of a user, which says when it is made."""

    def __setstate__(self, state: Any) -> None:
        made.append(1)


class Trigger(DateTrigger):
    """A trigger of a user."""


def test_what_users_have_written_is_run_once_for_each_job() -> None:
    moulds = new_moulds()
    counted = Counted()
    counted.__dict__["a"] = 1
    state = state_of(args=(counted,))
    made.clear()
    for count in (1, 2, 3):
        moulds.loads(state)
        assert len(made) == count
    assert casts(moulds) == 2


@pytest.mark.parametrize("protocol", [2, 3])
def test_states_of_old_protocols_have_no_mould(protocol: int) -> None:
    moulds = new_moulds()
    for _ in range(3):
        assert not check(moulds, state_of(protocol=protocol))


@pytest.mark.parametrize(
    "trigger", [Trigger(NOON), OrTrigger([DateTrigger(NOON)])], ids=["a user's", "combined"]
)
def test_triggers_that_may_change_have_no_mould(trigger: BaseTrigger) -> None:
    moulds = new_moulds()
    for _ in range(3):
        assert not check(moulds, state_of(trigger=trigger))


@pytest.mark.parametrize(
    "harm",
    [
        lambda state: state[:-1],
        lambda state: state[:-20],
        lambda state: state[:3] + b"\xff" + state[4:],
        lambda state: b"\x80\x07" + state[2:],
        lambda state: state.replace(b"version", b"revision"),
        lambda state: state.replace(b"kwargs", b"kwarks"),
        lambda state: state.replace(b"\x01j\x94", b"\x01\xff\x94"),
        lambda state: b"",
        lambda state: b"garbage",
        lambda state: pickle.dumps([1]),
        lambda state: pickle.dumps({**pickle.loads(state), "more": 1}, 5),
        lambda state: pickle.dumps(dict(reversed(pickle.loads(state).items())), 5),
    ],
)
def test_a_state_that_is_harmed_or_strange_is_what_pickle_makes_of_it(
    harm: Callable[[bytes], bytes],
) -> None:
    moulds = new_moulds()
    state = state_of()
    for sound in (state_of("other"), state):
        check(moulds, sound)
    harmed = harm(state)
    assert harmed != state
    for _ in range(3):
        assert outcome(moulds.loads, harmed) == outcome(pickle.loads, harmed)
    assert check(moulds, state)


def outcome(loads: Callable[[bytes], Any], state: bytes) -> str:
    """Return what comes of a state, be it an error."""
    try:
        parts = loads(state)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if isinstance(parts, dict):
        parts["trigger"] = repr(parts["trigger"])
    return repr(parts)


def test_an_error_in_arguments_is_raised_each_time() -> None:
    moulds = new_moulds()
    moulds.loads(state_of("sound"))
    state = state_of(args=(work,)).replace(b"\x04work\x94\x93", b"\x04walk\x94\x93")
    for _ in range(3):
        with pytest.raises(AttributeError, match="walk"):
            moulds.loads(state)


def test_a_callable_is_looked_up_anew_for_each_job(monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_of()
    monkeypatch.setattr(_pickled, "_moulds", new_moulds())
    for _ in range(3):
        assert _pickled.load(state).func is work
    monkeypatch.setattr("sql_kit.work", print)
    assert _pickled.load(state).func is print
    monkeypatch.delattr("sql_kit.work")
    with pytest.raises(LookupError, match="sql_kit:work"):
        _pickled.load(state)


# -- how many there are -------------------------------------------------------------------------


def test_one_mould_is_made_for_many_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_moulds, "_PAUSE", 61)
    moulds = new_moulds()
    for number in range(1000):
        moulds.loads(state_of(f"{number}", args=(1000 + number,), name=f"work on {number}"))
    [mould] = all_of(moulds)
    assert mould.uses + mould.failures == 1000 - 61
    # Those whose number is stored as what refers to something, in another place.
    assert mould.failures < 10


def test_kinds_that_do_not_come_again_are_not_looked_at_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_moulds, "_ADVANCE", 32)
    moulds = new_moulds()
    for number in range(1, 33):
        moulds.loads(state_of(misfire_grace_time=number))
    assert len(all_of(moulds)) == 32
    for number in range(33, 99):
        moulds.loads(state_of(misfire_grace_time=number))
    assert moulds._layouts == {}
    assert moulds._tried == 32


def test_moulds_that_are_of_use_pay_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_moulds, "_ADVANCE", 1)
    moulds = new_moulds()
    for _ in range(3):
        for _ in range(200):
            moulds.loads(state_of(misfire_grace_time=1))
        for number in (2, 3, 4):
            moulds.loads(state_of(misfire_grace_time=number))
    assert len(all_of(moulds)) == 4


def test_there_are_only_so_many_moulds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_moulds, "_MOST_MOULDS", 10)
    moulds = new_moulds()
    for number in range(1, 95):
        check(moulds, state_of(misfire_grace_time=number, executor="x" * (number % 7 + 1)))
        assert len(all_of(moulds)) <= 10
    assert len(all_of(moulds)) == 4


def test_a_mould_that_is_mostly_in_vain_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_moulds, "_ADVANCE", 1)
    moulds = new_moulds()
    for number in range(100):
        check(moulds, state_of(args=(NOON, number)))
    assert all_of(moulds) == []
