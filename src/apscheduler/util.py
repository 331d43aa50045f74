"""Small conversions shared by every room of the package, and importable by programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Final, TypeGuard, overload

__all__ = (
    "asbool",
    "asint",
    "astimezone",
    "check_callable_args",
    "convert_to_datetime",
    "datetime_ceil",
    "datetime_to_utc_timestamp",
    "get_callable_name",
    "localize",
    "maybe_ref",
    "normalize",
    "obj_to_ref",
    "ref_to_obj",
    "undefined",
    "utc_timestamp_to_datetime",
)

_TRUE_TEXTS = frozenset(("true", "yes", "on", "y", "t", "1"))
_FALSE_TEXTS = frozenset(("false", "no", "off", "n", "f", "0"))

# Compiled when it is first used, as all patterns are here: most programs need few of them.
_DATETIME_TEXT = (
    r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})"
    r"(?:[ T](?P<hour>\d{1,2}):(?P<minute>\d{1,2}):(?P<second>\d{1,2})"
    r"(?:\.(?P<fraction>\d{1,6}))?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?\n?"
)

# Bits of `code.co_flags`, spelt out so that `inspect` need not be imported for them.
_HAS_VAR_POSITIONAL = 0x04
_HAS_VAR_KEYWORD = 0x08


class _Undefined:
    """The type of `undefined`."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "<undefined>"


undefined: Final = _Undefined()
"""Stands for "not given" where None is a value; compare with ``is``."""


@overload
def asint(text: None) -> None: ...
@overload
def asint(text: str | float) -> int: ...
def asint(text: str | float | None) -> int | None:
    """Return ``text`` as an integer, or None for None.

    :raises ValueError: if the text is not a whole number
    """
    return None if text is None else int(text)


def asbool(obj: object) -> bool:
    """Return the truth that ``obj`` stands for, reading texts such as ``yes`` and ``off``.

    Anything but a text is as true as Python finds it.

    :raises ValueError: if a text is none of true, yes, on, y, t, 1, false, no, off, n, f, 0
    """
    if not isinstance(obj, str):
        return bool(obj)

    text = obj.strip().lower()
    if text in _TRUE_TEXTS:
        return True
    if text in _FALSE_TEXTS:
        return False
    raise ValueError(f'Unable to interpret value "{text}" as boolean')


@overload
def astimezone(obj: None) -> None: ...
@overload
def astimezone(obj: str | tzinfo) -> tzinfo: ...
def astimezone(obj: str | tzinfo | None) -> tzinfo | None:
    """Return the time zone that ``obj`` names or is; None for None.

    ``"UTC"`` gives `datetime.timezone.utc`, any other text the `zoneinfo.ZoneInfo` of that key.
    Zones of pytz are replaced by their equals in the standard library.

    :raises zoneinfo.ZoneInfoNotFoundError: if no zone has that name
    :raises ValueError: if the text is no possible name, or the zone only says that it is
        ``local``, which cannot be stored
    :raises TypeError: if ``obj`` is neither a text nor a tzinfo
    """
    if obj is None or obj is UTC or _is_zone_info(obj):
        return obj
    if isinstance(obj, str) and obj == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    if isinstance(obj, str):
        return ZoneInfo(obj)
    if not isinstance(obj, tzinfo):
        raise TypeError(f"Expected tzinfo, got {type(obj).__name__} instead")

    if obj.tzname(None) == "local":
        raise ValueError(
            "Unable to determine the name of the local timezone -- give the zone by its name, "
            'such as timezone="Europe/Berlin"'
        )
    if hasattr(obj, "zone"):
        name: str | None = obj.zone
        if name:
            return ZoneInfo(name)
        offset = obj.utcoffset(None)
        if offset is not None:
            return timezone(offset)
    return obj


def _is_zone_info(obj: object) -> TypeGuard[tzinfo]:
    # Where nobody has imported it, there is none; and where all is in UTC, nobody needs to.
    return isinstance(obj, getattr(sys.modules.get("zoneinfo"), "ZoneInfo", ()))


def get_localzone() -> tzinfo:
    """Return the local time zone, as tzlocal finds it.

    tzlocal is not imported before somebody asks: most of the import of this library would be its.
    """
    from tzlocal import get_localzone as find

    return find()


def asdate(obj: Any) -> Any:
    """Return the date that an ISO 8601 text such as ``2024-02-29`` stands for; others unchanged.

    :raises ValueError: if the text is no such date
    """
    return date.fromisoformat(obj) if isinstance(obj, str) else obj


@overload
def convert_to_datetime(input: None, tz: tzinfo | str | None, arg_name: str) -> None: ...
@overload
def convert_to_datetime(
    input: date | datetime | str, tz: tzinfo | str | None, arg_name: str
) -> datetime: ...
def convert_to_datetime(
    input: date | datetime | str | None, tz: tzinfo | str | None, arg_name: str
) -> datetime | None:
    """Return ``input`` as an aware datetime; None for None.

    A date means midnight. A text is ``YYYY-M-D``, optionally followed by a blank or ``T`` and
    ``H:M:S``, up to six digits of a fraction, and ``Z`` or ``+HH:MM``. What is aware already is
    returned as it is; a time that a change of the clock leaves out moves forward by the change.

    :param tz: zone in which a naive input is meant
    :param arg_name: name of the argument, for error messages
    :raises ValueError: if the text cannot be read, or a naive input comes without ``tz``
    :raises TypeError: if ``input`` is of another type
    """
    if input is None:
        return None
    if isinstance(input, datetime):
        moment = input
    elif isinstance(input, date):
        moment = datetime.combine(input, time())
    elif isinstance(input, str):
        moment = _read_datetime(input)
    else:
        raise TypeError(f"Unsupported type for {arg_name}: {type(input).__name__}")

    if moment.tzinfo is not None:
        return moment
    if tz is None:
        raise ValueError(
            f'The "tz" argument must be specified if {arg_name} has no timezone information'
        )
    return localize(moment, astimezone(tz) if isinstance(tz, str) else tz)


def _read_datetime(text: str) -> datetime:
    match = re.fullmatch(_DATETIME_TEXT, text)
    if match is None:
        raise ValueError("Invalid date string")

    year, month, day, hour, minute, second, fraction, zone = match.groups()
    tz: tzinfo | None = None
    if zone == "Z":
        tz = UTC
    elif zone is not None:
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
        tz = timezone(-offset if zone[0] == "-" else offset)
    return datetime(
        int(year),
        int(month),
        int(day),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        int((fraction or "0").ljust(6, "0")),
        tz,
    )


def localize(dt: datetime, tzinfo: tzinfo) -> datetime:
    """Return the naive ``dt`` as an aware datetime of the zone ``tzinfo``.

    A time that the zone leaves out moves forward by the change; of a time that comes twice the
    first is meant, unless its ``fold`` says otherwise.
    """
    if hasattr(tzinfo, "localize"):
        localized: datetime = tzinfo.localize(dt)
        return localized
    return normalize(dt.replace(tzinfo=tzinfo))


def normalize(dt: datetime) -> datetime:
    """Return the same instant as a time that exists in the zone of ``dt``."""
    return dt.astimezone(UTC).astimezone(dt.tzinfo) if dt.tzinfo else dt


@overload
def datetime_to_utc_timestamp(timeval: None) -> None: ...
@overload
def datetime_to_utc_timestamp(timeval: datetime) -> float: ...
def datetime_to_utc_timestamp(timeval: datetime | None) -> float | None:
    """Return the seconds from 1970 in UTC until ``timeval``, which counts as UTC if naive."""
    if timeval is None:
        return None
    if timeval.tzinfo is None:
        timeval = timeval.replace(tzinfo=UTC)
    return timeval.timestamp()


@overload
def utc_timestamp_to_datetime(timestamp: None) -> None: ...
@overload
def utc_timestamp_to_datetime(timestamp: float) -> datetime: ...
def utc_timestamp_to_datetime(timestamp: float | None) -> datetime | None:
    """Return the aware UTC datetime that lies ``timestamp`` seconds after 1970; None for None."""
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC)


def datetime_ceil(dateval: datetime) -> datetime:
    """Return the first whole second that is not before ``dateval``."""
    if not dateval.microsecond:
        return dateval
    return datetime_utc_add(dateval, timedelta(microseconds=1_000_000 - dateval.microsecond))


def datetime_utc_add(dateval: datetime, tdelta: timedelta) -> datetime:
    """Return ``dateval`` plus ``tdelta`` of elapsed time, in the zone of ``dateval``.

    Unlike plain addition this is right across a change of the clock. Naive values are added
    plainly.
    """
    if dateval.tzinfo is None:
        return dateval + tdelta
    return (dateval.astimezone(UTC) + tdelta).astimezone(dateval.tzinfo)


def datetime_repr(dateval: datetime | None) -> str:
    """Return ``dateval`` as a text like ``2009-07-06 00:00:00 CEST``, or ``None``."""
    return dateval.strftime("%Y-%m-%d %H:%M:%S %Z") if dateval else "None"


def timezone_repr(timezone: tzinfo) -> str:
    """Return the key of a `zoneinfo.ZoneInfo`, and the ``repr`` of any other zone."""
    return str(timezone) if _is_zone_info(timezone) else repr(timezone)


def timedelta_seconds(delta: timedelta) -> float:
    """Return the length of ``delta`` in seconds."""
    return delta.total_seconds()


def get_callable_name(func: Callable[..., Any]) -> str:
    """Return the name by which people know ``func``, such as ``Class.method``.

    :raises TypeError: if ``func`` is not callable
    """
    if type(func) is FunctionType:
        return func.__qualname__
    owner = getattr(func, "__self__", None)
    if isinstance(func, MethodType) and owner is not None:
        cls = owner if isinstance(owner, type) else type(owner)
        return f"{cls.__qualname__}.{func.__name__}"
    name = getattr(func, "__qualname__", None)
    if isinstance(name, str):
        return name
    if callable(func):
        return type(func).__qualname__
    raise TypeError(f"Unable to determine a name for {func!r} -- maybe it is not a callable?")


def obj_to_ref(obj: Callable[..., Any]) -> str:
    """Return the textual reference, ``module:name``, by which `ref_to_obj` would find ``obj``.

    Whether it resolves to the same object is not checked.

    :raises ValueError: if ``obj`` is a partial, a lambda or a nested function
    """
    if isinstance(obj, partial):
        raise ValueError("Cannot create a reference to a partial()")
    name = get_callable_name(obj)
    if "<" in name:
        if "<lambda>" in name:
            raise ValueError("Cannot create a reference to a lambda")
        if "<locals>" in name:
            raise ValueError("Cannot create a reference to a nested function")

    module = obj.__module__
    if isinstance(obj, MethodType):
        owner = obj.__self__
        module = owner.__module__ if isinstance(owner, type) else type(owner).__module__
    return f"{module}:{name}"


def ref_to_obj(ref: str) -> Any:
    """Return the object that the textual reference ``module:name`` leads to.

    :raises TypeError: if ``ref`` is not a text
    :raises ValueError: if ``ref`` has no colon
    :raises LookupError: if the module cannot be imported or holds no such object; anything else
        that the import raises is passed on
    """
    if not isinstance(ref, str):
        raise TypeError("References must be strings")
    module_name, colon, attributes = ref.partition(":")
    if not colon:
        raise ValueError("Invalid reference")

    try:
        obj: Any = sys.modules.get(module_name)
        # To ask for an import takes longer than all the rest; but one that another thread is at
        # must be waited for.
        if obj is None or getattr(getattr(obj, "__spec__", None), "_initializing", False):
            from importlib import import_module

            obj = import_module(module_name)
    except ImportError as exc:
        raise LookupError(f"Error resolving reference {ref}: could not import module") from exc
    try:
        for attribute in attributes.split("."):
            obj = getattr(obj, attribute)
    except AttributeError as exc:
        raise LookupError(f"Error resolving reference {ref}: error looking up object") from exc
    return obj


def maybe_ref(ref: Any) -> Any:
    """Return the object that a textual reference leads to; anything but a text unchanged."""
    return ref_to_obj(ref) if isinstance(ref, str) else ref


def check_callable_args(
    func: Callable[..., Any], args: Iterable[Any], kwargs: Mapping[str, Any]
) -> None:
    """Check that ``func`` can be called with these arguments.

    The outermost signature counts. A callable that has none, as some built-in ones, is taken to
    accept everything.

    :raises ValueError: if it cannot, naming the arguments at fault
    :raises TypeError: if ``func`` is not callable
    """
    args = tuple(args)
    if not _plainly_accepts(func, args, kwargs):
        _check_signature(func, args, kwargs)


def _plainly_accepts(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> bool:
    """Tell from the code object alone whether the call fits; False means "look closer"."""
    given = len(args)
    function: object = func
    if isinstance(function, MethodType):
        function = function.__func__
        given += 1
    if not isinstance(function, FunctionType) or "__signature__" in function.__dict__:
        return False

    code = function.__code__
    positional = code.co_argcount
    if kwargs or code.co_kwonlyargcount:
        return _accepts_by_name(function, given, kwargs)
    if given == positional:
        return True
    if given > positional:
        return bool(code.co_flags & _HAS_VAR_POSITIONAL)
    return given >= positional - len(function.__defaults__ or ())


def _accepts_by_name(function: FunctionType, given: int, kwargs: Mapping[str, Any]) -> bool:
    code = function.__code__
    positional = code.co_argcount
    if given > positional and not code.co_flags & _HAS_VAR_POSITIONAL:
        return False
    required = positional - len(function.__defaults__ or ())
    names = code.co_varnames
    total = positional + code.co_kwonlyargcount
    by_keyword = names[max(given, code.co_posonlyargcount) : total]
    taken = names[:positional]
    for name in kwargs:
        if name not in by_keyword and (name in taken or not code.co_flags & _HAS_VAR_KEYWORD):
            return False
    if any(name not in kwargs for name in names[given:required]):
        return False
    defaults = function.__kwdefaults__ or {}
    return all(name in kwargs or name in defaults for name in names[positional:total])


def _check_signature(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    from inspect import Parameter, signature

    try:
        parameters = signature(func, follow_wrapped=False).parameters.values()
    except ValueError:
        return

    taken_twice: list[str] = []
    positional_only: list[str] = []
    missing: list[str] = []
    missing_keyword_only: list[str] = []
    waiting_args = len(args)
    waiting_kwargs = dict.fromkeys(kwargs)
    takes_any_args = takes_any_kwargs = False
    for parameter in parameters:
        name = parameter.name
        if parameter.kind is Parameter.VAR_POSITIONAL:
            takes_any_args = True
        elif parameter.kind is Parameter.VAR_KEYWORD:
            takes_any_kwargs = True
        elif parameter.kind is Parameter.KEYWORD_ONLY:
            if name in waiting_kwargs:
                del waiting_kwargs[name]
            elif parameter.default is Parameter.empty:
                missing_keyword_only.append(name)
        elif parameter.kind is Parameter.POSITIONAL_ONLY:
            if waiting_args:
                waiting_args -= 1
            elif name in waiting_kwargs:
                positional_only.append(name)
            elif parameter.default is Parameter.empty:
                missing.append(name)
        elif waiting_args:
            waiting_args -= 1
            if name in waiting_kwargs:
                taken_twice.append(name)
        elif name in waiting_kwargs:
            del waiting_kwargs[name]
        elif parameter.default is Parameter.empty:
            missing.append(name)

    if taken_twice:
        problem = "The following arguments are supplied in both args and kwargs: "
        raise ValueError(problem + ", ".join(taken_twice))
    if positional_only:
        problem = "The following arguments cannot be given as keyword arguments: "
        raise ValueError(problem + ", ".join(positional_only))
    if missing:
        raise ValueError("The following arguments have not been supplied: " + ", ".join(missing))
    if missing_keyword_only:
        problem = "The following keyword-only arguments have not been supplied in kwargs: "
        raise ValueError(problem + ", ".join(missing_keyword_only))
    if waiting_args and not takes_any_args:
        raise ValueError(
            "The list of positional arguments is longer than the target callable can handle "
            f"(allowed: {len(args) - waiting_args}, given in args: {len(args)})"
        )
    if waiting_kwargs and not takes_any_kwargs:
        problem = "The target callable does not accept the following keyword arguments: "
        raise ValueError(problem + ", ".join(waiting_kwargs))


def iscoroutinefunction_partial(f: Callable[..., Any]) -> bool:
    """Tell whether calling ``f``, bare or wrapped in partials, makes a coroutine."""
    from inspect import iscoroutinefunction

    while isinstance(f, partial):
        f = f.func
    if iscoroutinefunction(f):
        return True
    if sys.version_info >= (3, 14) or not hasattr(f, "_is_coroutine"):
        return False

    # The mark that asyncio puts on callables which it is told to treat as coroutine functions.
    from asyncio import iscoroutinefunction as is_marked

    return is_marked(f)
