"""The helpers of `apscheduler.util`."""

from __future__ import annotations

import collections
import sys
import types
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import partial
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
import pytz
from contract_kit import Butler, Greeter, add, coroutine, echo, greeter, noop

from apscheduler import util

BERLIN = ZoneInfo("Europe/Berlin")


def test_the_public_names():
    assert set(util.__all__) >= {
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
    }
    for name in [
        "asdate",
        "datetime_repr",
        "datetime_utc_add",
        "timedelta_seconds",
        "timezone_repr",
        "iscoroutinefunction_partial",
    ]:
        assert callable(getattr(util, name))
    assert util.UTC is UTC


def test_undefined_is_a_falsy_object_of_its_own():
    assert not util.undefined
    assert repr(util.undefined) == "<undefined>"
    assert type(util.undefined).__name__ == "_Undefined"


@pytest.mark.parametrize(("given", "number"), [(None, None), ("5", 5), (5.9, 5), (True, 1)])
def test_asint_reads_numbers(given, number):
    assert util.asint(given) == number


@pytest.mark.parametrize("given", ["5.5", "", "None"])
def test_asint_refuses_other_text(given):
    with pytest.raises(ValueError, match="invalid literal"):
        util.asint(given)


@pytest.mark.parametrize(
    ("given", "truth"),
    [
        *((text, True) for text in ("true", "YES", " on ", "y", "t", "1")),
        *((text, False) for text in ("false", "No", "off\n", "n", "f", "0")),
        (2, True),
        (0, False),
        (None, False),
        ([], False),
    ],
)
def test_asbool_reads_truth(given, truth):
    assert util.asbool(given) is truth


@pytest.mark.parametrize("given", ["", "2", "maybe"])
def test_asbool_refuses_other_text(given):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the text is compared below)
        util.asbool(given)
    assert caught.value.args == (f'Unable to interpret value "{given}" as boolean',)


@pytest.mark.parametrize(
    ("given", "zone"),
    [
        (None, None),
        ("UTC", UTC),
        ("Europe/Berlin", BERLIN),
        (BERLIN, BERLIN),
        (UTC, UTC),
        (timezone(timedelta(hours=2)), timezone(timedelta(hours=2))),
        (pytz.timezone("Europe/Berlin"), BERLIN),
        (pytz.utc, ZoneInfo("UTC")),
    ],
)
def test_astimezone_takes_every_form(given, zone):
    assert util.astimezone(given) == zone


@pytest.mark.differs("fixed offsets of pytz are accepted")
def test_astimezone_takes_a_fixed_offset_of_pytz():
    assert util.astimezone(pytz.FixedOffset(-90)) == timezone(timedelta(minutes=-90))


class Local(tzinfo):
    def tzname(self, dt):
        return "local"


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ("Europe/Nowhere", ZoneInfoNotFoundError, ""),
        ("", ValueError, ""),
        (5, TypeError, "Expected tzinfo, got int instead"),
        (Local(), ValueError, "Unable to determine the name of the local timezone"),
    ],
)
def test_astimezone_refuses_the_rest(given, error, text):
    with pytest.raises(error) as caught:
        util.astimezone(given)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        (None, None),
        (date(2009, 8, 1), datetime(2009, 8, 1, tzinfo=BERLIN)),
        (datetime(2009, 8, 1, 5), datetime(2009, 8, 1, 5, tzinfo=BERLIN)),
        (datetime(2009, 8, 1, 5, tzinfo=UTC), datetime(2009, 8, 1, 5, tzinfo=UTC)),
        ("2009-8-1", datetime(2009, 8, 1, tzinfo=BERLIN)),
        ("2009-8-1 5:6:7", datetime(2009, 8, 1, 5, 6, 7, tzinfo=BERLIN)),
        ("2009-08-01T05:06:07", datetime(2009, 8, 1, 5, 6, 7, tzinfo=BERLIN)),
        ("2009-08-01 05:06:07.123456", datetime(2009, 8, 1, 5, 6, 7, 123456, tzinfo=BERLIN)),
        ("2009-08-01T05:06:07Z", datetime(2009, 8, 1, 5, 6, 7, tzinfo=UTC)),
        (
            "2009-08-01T05:06:07.000001-03:30",
            datetime(2009, 8, 1, 5, 6, 7, 1, tzinfo=timezone(-timedelta(hours=3, minutes=30))),
        ),
        ("2014-03-30 02:30:00", datetime(2014, 3, 30, 3, 30, tzinfo=BERLIN)),
    ],
)
def test_convert_to_datetime_reads_every_form(given, moment):
    converted = util.convert_to_datetime(given, BERLIN, "when")
    assert converted == moment
    if moment is not None:
        assert converted.utcoffset() == moment.utcoffset()


@pytest.mark.differs("half a second is half a second")
def test_a_fraction_of_a_second_is_read_as_a_fraction():
    assert util.convert_to_datetime("2009-08-01 05:06:07.5", UTC, "when").microsecond == 500000


@pytest.mark.parametrize(
    ("given", "zone", "error", "text"),
    [
        (5, UTC, TypeError, "Unsupported type for when: int"),
        ("2009-08-01 05:06", UTC, ValueError, "Invalid date string"),
        ("20090801", UTC, ValueError, "Invalid date string"),
        ("2009-08-01T05:06:07+0200", UTC, ValueError, "Invalid date string"),
        ("2009-13-01", UTC, ValueError, "month must be in"),
        (
            datetime(2009, 8, 1),
            None,
            ValueError,
            'The "tz" argument must be specified if when has no timezone information',
        ),
    ],
)
def test_convert_to_datetime_refuses_the_rest(given, zone, error, text):
    with pytest.raises(error) as caught:
        util.convert_to_datetime(given, zone, "when")
    assert str(caught.value).startswith(text)


def test_a_zone_may_be_given_as_text_when_converting():
    moment = util.convert_to_datetime("2009-8-1", "Europe/Berlin", None)
    assert moment == datetime(2009, 8, 1, tzinfo=BERLIN)


def test_dates_are_read_from_iso_text():
    assert util.asdate("2009-08-01") == date(2009, 8, 1)
    assert util.asdate(date(2009, 8, 1)) == date(2009, 8, 1)
    assert util.asdate(None) is None


def test_localize_attaches_a_zone_and_leaves_gaps_and_folds_sanely():
    assert util.localize(datetime(2014, 7, 1), pytz.timezone("Europe/Berlin")).hour == 0
    moved = util.localize(datetime(2014, 3, 30, 2, 30), BERLIN)
    assert (moved.hour, moved.minute, moved.utcoffset()) == (3, 30, timedelta(hours=2))
    first = util.localize(datetime(2014, 10, 26, 2, 30), BERLIN)
    assert first.utcoffset() == timedelta(hours=2)


def test_normalize_keeps_the_instant():
    gap = datetime(2014, 3, 30, 2, 30, tzinfo=BERLIN)
    assert util.normalize(gap).isoformat() == "2014-03-30T03:30:00+02:00"


def test_timestamps_go_both_ways():
    moment = datetime(2014, 3, 30, 2, 30, 1, 123456, tzinfo=UTC)
    stamp = util.datetime_to_utc_timestamp(moment)
    assert stamp == 1396146601.123456
    assert util.utc_timestamp_to_datetime(stamp) == moment
    assert util.utc_timestamp_to_datetime(stamp).tzinfo is UTC
    assert util.datetime_to_utc_timestamp(moment.astimezone(BERLIN)) == stamp
    assert util.datetime_to_utc_timestamp(moment.replace(tzinfo=None)) == stamp
    assert util.datetime_to_utc_timestamp(None) is util.utc_timestamp_to_datetime(None) is None


def test_small_helpers_of_time():
    moment = datetime(2014, 3, 29, 2, 30, 1, 5, tzinfo=BERLIN)
    assert util.datetime_ceil(moment) == datetime(2014, 3, 29, 2, 30, 2, tzinfo=BERLIN)
    assert util.datetime_ceil(moment.replace(microsecond=0)).second == 1
    assert util.timedelta_seconds(timedelta(minutes=1, microseconds=500000)) == 60.5
    assert util.datetime_repr(moment) == "2014-03-29 02:30:01 CET"
    assert util.datetime_repr(None) == "None"
    assert util.timezone_repr(BERLIN) == "Europe/Berlin"
    assert util.timezone_repr(UTC) == repr(UTC)
    later = util.datetime_utc_add(moment, timedelta(days=1))
    assert later.isoformat() == "2014-03-30T03:30:01.000005+02:00"
    naive = datetime(2014, 1, 1)
    assert util.datetime_utc_add(naive, timedelta(days=1)) == datetime(2014, 1, 2)


@pytest.mark.parametrize(
    ("obj", "reference"),
    [
        (noop, "contract_kit:noop"),
        (Greeter, "contract_kit:Greeter"),
        (Greeter.greet, "contract_kit:Greeter.greet"),
        (greeter.greet, "contract_kit:Greeter.greet"),
        (Greeter.shout, "contract_kit:Greeter.shout"),
        (Butler.shout, "contract_kit:Butler.shout"),
        (Greeter.hum, "contract_kit:Greeter.hum"),
        (timedelta, "datetime:timedelta"),
    ],
)
def test_an_object_has_a_reference(obj, reference):
    assert util.obj_to_ref(obj) == reference


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (partial(noop), "Cannot create a reference to a partial()"),
        (lambda: None, "Cannot create a reference to a lambda"),
        ((lambda: (lambda f: f)(type("Inner", (), {})))(), None),
    ],
)
def test_what_cannot_be_referenced_is_refused(obj, text):
    if text is None:

        def nested():
            """Live inside a function."""

        obj, text = nested, "Cannot create a reference to a nested function"
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the text is compared below)
        util.obj_to_ref(obj)
    assert caught.value.args == (text,)


def test_a_reference_leads_to_its_object():
    assert util.ref_to_obj("contract_kit:Greeter.shout")() == "GREETER"
    assert util.maybe_ref("contract_kit:noop") is noop
    assert util.maybe_ref(noop) is noop


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (5, TypeError, "References must be strings"),
        ("contract_kit", ValueError, "Invalid reference"),
        (
            "no_such_module_here:x",
            LookupError,
            "Error resolving reference no_such_module_here:x: could not import module",
        ),
        (
            "contract_kit:x.y",
            LookupError,
            "Error resolving reference contract_kit:x.y: error looking up object",
        ),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(given, error, text):
    with pytest.raises(error) as caught:
        util.ref_to_obj(given)
    assert caught.value.args == (text,)
    if "import" in text:
        assert isinstance(caught.value.__cause__, ImportError)


def test_a_module_that_fails_while_being_imported_says_so_itself(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        util.ref_to_obj("broken_module:x")


def test_a_sub_module_is_found_behind_an_attribute_of_its_name(monkeypatch):
    parent, child = types.ModuleType("parent_mod"), types.ModuleType("parent_mod.child")
    parent.child, child.target = "not the module", "found"
    parent.__path__ = []
    monkeypatch.setitem(sys.modules, "parent_mod", parent)
    monkeypatch.setitem(sys.modules, "parent_mod.child", child)
    assert util.ref_to_obj("parent_mod.child:target") == "found"


@pytest.mark.parametrize(
    ("func", "name"),
    [
        (noop, "noop"),
        (len, "len"),
        (Greeter, "Greeter"),
        (greeter.greet, "Greeter.greet"),
        (Butler("b").greet, "Butler.greet"),
        (Butler.shout, "Butler.shout"),
        (Greeter.hum, "Greeter.hum"),
        (greeter, "Greeter"),
        (partial(noop), "partial"),
    ],
)
def test_a_callable_has_a_name(func, name):
    assert util.get_callable_name(func) == name


def test_what_is_not_callable_has_no_name():
    with pytest.raises(TypeError) as caught:
        util.get_callable_name(5)
    assert caught.value.args == (
        "Unable to determine a name for 5 -- maybe it is not a callable?",
    )


def two(x, y):
    """Take two."""


def keyword_only(x, *, y, z=1):
    """Take one and one."""


def positional_only(a, /, b):
    """Take two, one of them by position."""


@pytest.mark.parametrize(
    ("func", "args", "kwargs", "text"),
    [
        (add, [1], {"a": 1}, "arguments are supplied in both args and kwargs: a"),
        (positional_only, [], {"a": 1}, "arguments cannot be given as keyword arguments: a"),
        (two, [], {}, "arguments have not been supplied: x, y"),
        (two, [1], {}, "arguments have not been supplied: y"),
        (
            keyword_only,
            [1],
            {},
            "keyword-only arguments have not been supplied in kwargs: y",
        ),
        (
            two,
            [1, 2, 3],
            {},
            "The list of positional arguments is longer than the target callable can handle "
            "(allowed: 2, given in args: 3)",
        ),
        (
            two,
            [1, 2],
            {"q": 1},
            "The target callable does not accept the following keyword arguments: q",
        ),
    ],
)
def test_arguments_that_do_not_suit_are_refused(func, args, kwargs, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the text is compared below)
        util.check_callable_args(func, args, kwargs)
    (message,) = caught.value.args
    assert message == (text if text.startswith("The ") else f"The following {text}")


@pytest.mark.parametrize(
    ("func", "args", "kwargs"),
    [
        (two, [1], {"y": 1}),
        (keyword_only, [1], {"y": 1}),
        (echo, [1, 2, 3], {"q": 1}),
        (add, [1], {}),
        (collections.OrderedDict, [1, 2, 3], {}),
        (Greeter, ["x"], {}),
        (greeter.greet, [], {}),
    ],
)
def test_arguments_that_suit_are_accepted(func, args, kwargs):
    assert util.check_callable_args(func, args, kwargs) is None


def test_coroutine_functions_are_known_through_partials():
    assert util.iscoroutinefunction_partial(coroutine)
    assert util.iscoroutinefunction_partial(partial(partial(coroutine), 1))
    assert not util.iscoroutinefunction_partial(noop)
    assert not util.iscoroutinefunction_partial(partial(noop))
