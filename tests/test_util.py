"""Small conversions: texts, times, zones, references, signatures."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import types
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
import pytz
from hypothesis import given
from hypothesis import strategies as st

from apscheduler import util
from apscheduler.util import (
    asbool,
    asdate,
    asint,
    astimezone,
    check_callable_args,
    convert_to_datetime,
    datetime_ceil,
    datetime_repr,
    datetime_to_utc_timestamp,
    datetime_utc_add,
    get_callable_name,
    iscoroutinefunction_partial,
    localize,
    maybe_ref,
    normalize,
    obj_to_ref,
    ref_to_obj,
    timedelta_seconds,
    timezone_repr,
    undefined,
    utc_timestamp_to_datetime,
)

BERLIN = ZoneInfo("Europe/Berlin")


class Local(tzinfo):
    """A zone that knows of itself only that it is the local one."""

    def tzname(self, dt: datetime | None) -> str:
        return "local"


class NamelessZone(tzinfo):
    """What pytz has for zones without a name and without a fixed offset."""

    zone = None

    def tzname(self, dt: datetime | None) -> None:
        return None

    def utcoffset(self, dt: datetime | None) -> None:
        return None


class Meter:
    def __call__(self, x: int) -> int:
        return x

    def method(self, a: int, b: int = 1) -> None: ...

    @classmethod
    def make(cls) -> None: ...

    @staticmethod
    def static(a: int) -> None: ...

    async def coroutine(self) -> None: ...


class SubMeter(Meter):
    pass


class Keyed:
    def __call__(self, place: int = 0, /, *, key: int = 1) -> None: ...


def some(a: int, /, b: int, *, c: int, d: int = 1) -> None: ...


def open_positional(*args: int, a: int) -> None: ...


def open_keyword(a: int, /, **kwargs: int) -> None: ...


def open_both(a: int, b: int = 1, *args: int, **kwargs: int) -> None: ...


async def coroutine() -> None: ...


@functools.wraps(some)
def wrapper(*args: Any, **kwargs: Any) -> None: ...


def signed(x: int) -> None: ...


signed.__signature__ = inspect.Signature()  # type: ignore[attr-defined]


def test_undefined_is_false_and_shows_what_it_is() -> None:
    assert not undefined
    assert repr(undefined) == "<undefined>"


def test_whole_numbers_are_read() -> None:
    assert asint(None) is None
    assert asint(" 5 ") == 5
    assert asint(5.9) == 5
    with pytest.raises(ValueError, match="invalid literal"):
        asint("5.5")


@pytest.mark.parametrize("text", ["true", " YES ", "on", "y", "T", "1"])
def test_texts_that_mean_yes(text: str) -> None:
    assert asbool(text) is True


@pytest.mark.parametrize("text", ["false", "no", " Off", "n", "f", "0"])
def test_texts_that_mean_no(text: str) -> None:
    assert asbool(text) is False


def test_other_texts_mean_neither_and_other_things_are_as_true_as_python_says() -> None:
    for text in "", "2", "maybe":
        with pytest.raises(ValueError, match=f'^Unable to interpret value "{text}" as boolean$'):
            asbool(text)
    assert asbool([0]) is True
    assert asbool(None) is False


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (None, None),
        ("UTC", UTC),
        ("Europe/Berlin", BERLIN),
        (BERLIN, BERLIN),
        (pytz.utc, ZoneInfo("UTC")),
        (pytz.timezone("Europe/Berlin"), BERLIN),
        (pytz.FixedOffset(90), timezone(timedelta(minutes=90))),
        (timezone(timedelta(hours=1)), timezone(timedelta(hours=1))),
    ],
)
def test_zones_are_found(obj: str | tzinfo | None, expected: tzinfo | None) -> None:
    assert astimezone(obj) == expected
    assert type(astimezone(obj)) is type(expected)


def test_a_zone_of_an_unknown_kind_is_taken_as_it_is() -> None:
    zone = NamelessZone()
    assert astimezone(zone) is zone


def test_what_is_no_zone_is_refused() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        astimezone("europe/berlin")
    with pytest.raises(ValueError, match="ZoneInfo keys"):
        astimezone("")
    with pytest.raises(TypeError, match=r"^Expected tzinfo, got int instead$"):
        astimezone(5)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=r"^Unable to determine the name of the local timezone"):
        astimezone(Local())


def test_dates_are_read() -> None:
    assert asdate("2024-02-29") == date(2024, 2, 29)
    assert asdate(date(2024, 2, 29)) == date(2024, 2, 29)
    with pytest.raises(ValueError, match="Invalid isoformat string"):
        asdate("2024-2-29")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2009-7-6", "2009-07-06 00:00:00+02:00"),
        ("2009-07-06 1:2:3", "2009-07-06 01:02:03+02:00"),
        ("2009-7-6T01:02:03.5", "2009-07-06 01:02:03.500000+02:00"),
        ("2009-7-6T1:2:3.500000Z", "2009-07-06 01:02:03.500000+00:00"),
        ("2009-7-6T1:2:3+01:30", "2009-07-06 01:02:03+01:30"),
        ("2009-7-6T1:2:3-01:30", "2009-07-06 01:02:03-01:30"),
        (date(2009, 7, 6), "2009-07-06 00:00:00+02:00"),
        (datetime(2009, 7, 6, 1), "2009-07-06 01:00:00+02:00"),
        (datetime(2009, 7, 6, 1, tzinfo=UTC), "2009-07-06 01:00:00+00:00"),
        (datetime(2024, 3, 31, 2, 30), "2024-03-31 03:30:00+02:00"),
        (datetime(2024, 10, 27, 2, 30), "2024-10-27 02:30:00+02:00"),
    ],
)
def test_moments_are_read(given: str | date, expected: str) -> None:
    assert str(convert_to_datetime(given, "Europe/Berlin", "x")) == expected


def test_no_moment_stays_none() -> None:
    assert convert_to_datetime(None, None, "x") is None


@pytest.mark.parametrize(
    "text",
    [
        "2009-7-6 1:2",
        "2009-7-6T1:2:3+0100",
        "2009-7-6T1:2:3+1:00",
        "2009-7-6t1:2:3",
        "2009-7-6Z",
        "209-7-6",
        "20090706",
        " 2009-7-6",
        "2009-7-6T1:2:3.1234567",
        "tomorrow",
    ],
)
def test_other_texts_are_no_moments(text: str) -> None:
    with pytest.raises(ValueError, match=r"^Invalid date string$"):
        convert_to_datetime(text, UTC, "x")


def test_moments_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="month must be in"):
        convert_to_datetime("2009-13-6", UTC, "x")
    with pytest.raises(
        ValueError, match=r'^The "tz" argument must be specified if start_date has'
    ):
        convert_to_datetime("2009-7-6", None, "start_date")
    with pytest.raises(TypeError, match=r"^Unsupported type for start_date: int$"):
        convert_to_datetime(5, UTC, "start_date")  # type: ignore[call-overload]


def test_local_times_move_out_of_gaps_and_keep_the_pass_they_are_meant_for() -> None:
    assert str(localize(datetime(2024, 3, 31, 2, 30), BERLIN)) == "2024-03-31 03:30:00+02:00"
    assert str(localize(datetime(2024, 10, 27, 2, 30), BERLIN)) == "2024-10-27 02:30:00+02:00"
    second = localize(datetime(2024, 10, 27, 2, 30, fold=1), BERLIN)
    assert str(second) == "2024-10-27 02:30:00+01:00"
    of_pytz = localize(datetime(2024, 7, 1), pytz.timezone("Europe/Berlin"))
    assert str(of_pytz) == "2024-07-01 00:00:00+02:00"
    assert normalize(datetime(2024, 3, 31, 2, 30)) == datetime(2024, 3, 31, 2, 30)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))
def test_timestamps_lead_back_to_the_same_moment(moment: datetime) -> None:
    timestamp = datetime_to_utc_timestamp(moment)
    assert timestamp == datetime_to_utc_timestamp(moment.replace(tzinfo=UTC))
    assert utc_timestamp_to_datetime(timestamp) == moment.replace(tzinfo=UTC)


def test_no_timestamp_stays_none() -> None:
    assert datetime_to_utc_timestamp(None) is None
    assert utc_timestamp_to_datetime(None) is None


def test_moments_are_rounded_up_to_whole_seconds_in_elapsed_time() -> None:
    whole = datetime(2024, 1, 1, tzinfo=BERLIN)
    assert datetime_ceil(whole) is whole
    before_change = datetime(2024, 10, 27, 2, 59, 59, 5, tzinfo=BERLIN)
    assert str(datetime_ceil(before_change)) == "2024-10-27 02:00:00+01:00"


def test_time_is_added_as_it_elapses() -> None:
    later = datetime_utc_add(datetime(2024, 3, 31, 1, 30, tzinfo=BERLIN), timedelta(hours=1))
    assert str(later) == "2024-03-31 03:30:00+02:00"
    naive = datetime(2024, 3, 31, 1, 30)
    assert datetime_utc_add(naive, timedelta(hours=1)) == naive + timedelta(hours=1)
    assert timedelta_seconds(timedelta(days=1, microseconds=5)) == 86400.000005


def test_moments_and_zones_are_shown() -> None:
    assert datetime_repr(datetime(2009, 7, 6, tzinfo=BERLIN)) == "2009-07-06 00:00:00 CEST"
    assert datetime_repr(None) == "None"
    assert timezone_repr(BERLIN) == "Europe/Berlin"
    assert timezone_repr(UTC) == "datetime.timezone.utc"


@pytest.mark.parametrize(
    ("func", "name"),
    [
        (print, "print"),
        ([].append, "list.append"),
        (datetime.now, "datetime.now"),
        (datetime, "datetime"),
        (Meter, "Meter"),
        (Meter().method, "Meter.method"),
        (SubMeter().method, "SubMeter.method"),
        (SubMeter.make, "SubMeter.make"),
        (Meter.static, "Meter.static"),
        (Meter(), "Meter"),
        (functools.partial(print), "partial"),
    ],
)
def test_callables_have_names(func: Callable[..., Any], name: str) -> None:
    assert get_callable_name(func) == name


def test_what_cannot_be_called_has_no_name() -> None:
    with pytest.raises(TypeError, match=r"^Unable to determine a name for 5 -- maybe it is not"):
        get_callable_name(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("func", "ref", "found"),
    [
        (print, "builtins:print", print),
        (datetime, "datetime:datetime", datetime),
        (SubMeter.make, f"{__name__}:SubMeter.make", SubMeter.make),
        (Meter.static, f"{__name__}:Meter.static", Meter.static),
        (SubMeter().method, f"{__name__}:SubMeter.method", Meter.method),
    ],
)
def test_references_lead_to_callables(func: Callable[..., Any], ref: str, found: object) -> None:
    assert obj_to_ref(func) == ref
    assert ref_to_obj(ref) == found


def test_some_callables_have_no_reference() -> None:
    def nested() -> None: ...

    for func, text in (
        (functools.partial(print), "Cannot create a reference to a partial()"),
        (lambda: None, "Cannot create a reference to a lambda"),
        (nested, "Cannot create a reference to a nested function"),
    ):
        with pytest.raises(ValueError, match="Cannot create") as refusal:
            obj_to_ref(func)
        assert str(refusal.value) == text


def test_references_are_followed() -> None:
    assert (ref_to_obj("os.path:join") is Path and False) or callable(ref_to_obj("os.path:join"))
    assert maybe_ref("datetime:datetime.now") == datetime.now
    assert maybe_ref(5) == 5


@pytest.mark.parametrize(
    ("ref", "error", "text"),
    [
        (5, TypeError, "References must be strings"),
        ("os.path", ValueError, "Invalid reference"),
        ("no_such_module:x", LookupError,
         "Error resolving reference no_such_module:x: could not import module"),
        ("os:path.nope", LookupError,
         "Error resolving reference os:path.nope: error looking up object"),
    ],
)  # fmt: skip
def test_references_that_lead_nowhere(ref: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as refusal:
        ref_to_obj(ref)
    assert str(refusal.value) == text


def test_a_module_wins_over_an_attribute_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "twofold"
    package.mkdir()
    (package / "__init__.py").write_text("from twofold.inner import inner\n")
    (package / "inner.py").write_text("def inner(): pass\nvalue = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert ref_to_obj("twofold.inner:value") == 7
    finally:
        for name in "twofold", "twofold.inner":
            sys.modules.pop(name, None)


def test_what_an_import_raises_itself_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "breaking.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        ref_to_obj("breaking:x")


FITTING: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (some, (1, 2), {"c": 1}),
    (some, (1,), {"b": 2, "c": 1, "d": 5}),
    (open_positional, (1, 2), {"a": 1}),
    (open_keyword, (1,), {"a": 2}),
    (open_keyword, (1,), {"b": 2}),
    (open_both, (1, 2, 3), {"c": 1}),
    (open_both, (1,), {}),
    (Meter().method, (1, 2), {}),
    (Meter.method, (1, 2), {}),
    (Meter(), (1,), {}),
    (Meter, (), {}),
    (Keyed(), (), {}),
    (Keyed(), (), {"key": 2}),
    (wrapper, (1, 2, 3), {"x": 1}),
    (print, (1, 2), {"sep": 1}),
    (dict, (1, 2, 3), {}),
    (functools.partial(some, 1), (2,), {"c": 1}),
    (signed, (), {}),
]
REFUSED: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = [
    (some, (1, 2), {"b": 2, "c": 1},
     "The following arguments are supplied in both args and kwargs: b"),
    (open_both, (1,), {"a": 1},
     "The following arguments are supplied in both args and kwargs: a"),
    (some, (), {"a": 2, "b": 2, "c": 1},
     "The following arguments cannot be given as keyword arguments: a"),
    (open_keyword, (), {"a": 2},
     "The following arguments cannot be given as keyword arguments: a"),
    (some, (), {"c": 1}, "The following arguments have not been supplied: a, b"),
    (open_both, (), {"b": 1}, "The following arguments have not been supplied: a"),
    (some, (1, 2), {},
     "The following keyword-only arguments have not been supplied in kwargs: c"),
    (open_positional, (1,), {},
     "The following keyword-only arguments have not been supplied in kwargs: a"),
    (some, (1, 2, 3), {"c": 1},
     "The list of positional arguments is longer than the target callable can handle "
     "(allowed: 2, given in args: 3)"),
    (Meter().method, (1, 2, 3), {},
     "The list of positional arguments is longer than the target callable can handle "
     "(allowed: 2, given in args: 3)"),
    (signed, (1,), {},
     "The list of positional arguments is longer than the target callable can handle "
     "(allowed: 0, given in args: 1)"),
    (some, (1, 2), {"c": 1, "x": 2, "y": 3},
     "The target callable does not accept the following keyword arguments: x, y"),
    (print, (), {"x": 2},
     "The target callable does not accept the following keyword arguments: x"),
]  # fmt: skip


@pytest.mark.parametrize(("func", "args", "kwargs"), FITTING)
def test_arguments_that_fit(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    check_callable_args(func, args, kwargs)


@pytest.mark.parametrize(("func", "args", "kwargs", "text"), REFUSED)
def test_arguments_that_do_not_fit(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=r"^The ") as refusal:
        check_callable_args(func, args, kwargs)
    assert str(refusal.value) == text


def test_what_cannot_be_called_takes_no_arguments() -> None:
    with pytest.raises(TypeError, match="5 is not a callable object"):
        check_callable_args(5, (), {})  # type: ignore[arg-type]


@given(
    st.sampled_from([some, open_positional, open_keyword, open_both, Meter().method, wrapper]),
    st.integers(0, 4),
    st.sets(st.sampled_from(["a", "b", "c", "d", "x"])),
)
def test_the_quick_look_never_accepts_what_the_signature_refuses(
    func: Callable[..., Any], count: int, names: set[str]
) -> None:
    args, kwargs = (0,) * count, dict.fromkeys(names, 0)
    try:
        inspect.signature(func, follow_wrapped=False).bind(*args, **kwargs)
        fits = True
    except TypeError:
        fits = False
    if util._plainly_accepts(func, args, kwargs):
        assert fits
    if fits:
        check_callable_args(func, args, kwargs)
    else:
        with pytest.raises(ValueError, match=r"^The "):
            check_callable_args(func, args, kwargs)


def test_coroutine_functions_are_seen_through_partials() -> None:
    twice = functools.partial(functools.partial(coroutine))
    assert iscoroutinefunction_partial(coroutine)
    assert iscoroutinefunction_partial(twice)
    assert iscoroutinefunction_partial(Meter().coroutine)
    assert not iscoroutinefunction_partial(print)
    assert not iscoroutinefunction_partial(functools.partial(print))


def test_callables_marked_for_asyncio_count_as_coroutine_functions() -> None:
    def marked() -> None: ...

    marked._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    assert iscoroutinefunction_partial(marked)
    marked._is_coroutine = True  # type: ignore[attr-defined]
    assert not iscoroutinefunction_partial(marked)


def test_a_generator_made_awaitable_is_no_coroutine_function() -> None:
    @types.coroutine
    def old_style():  # type: ignore[no-untyped-def]
        yield

    assert not iscoroutinefunction_partial(old_style)
