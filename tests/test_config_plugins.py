"""Plug-ins by name, and the executors and job stores of a configuration."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from types import MappingProxyType

import pytest

from apscheduler._config import (
    PLUGINS,
    BuiltIn,
    PluginTable,
    build_components,
    load_plugin,
)


class Executor:
    def __init__(self, **options):
        self.options = options


class Threads(Executor):
    pass


class EntryPoint:
    """Stands for an entry point, and counts how often it is loaded."""

    def __init__(self, loaded):
        self.loaded = loaded
        self.loads = 0

    def load(self):
        self.loads += 1
        return self.loaded


# Plug-ins by name


def test_the_built_in_names_are_known_without_metadata():
    names = {kind: " ".join(table) for kind, table in PLUGINS.items()}
    assert names == {
        "trigger": "date interval cron calendarinterval and or",
        "executor": "debug threadpool processpool asyncio gevent tornado twisted",
        "jobstore": "memory sqlalchemy mongodb rethinkdb redis zookeeper etcd",
    }


@pytest.mark.parametrize(
    ("name", "class_name"),
    [
        ("date", "apscheduler.triggers.date.DateTrigger"),
        ("interval", "apscheduler.triggers.interval.IntervalTrigger"),
        ("cron", "apscheduler.triggers.cron.CronTrigger"),
        ("calendarinterval", "apscheduler.triggers.calendarinterval.CalendarIntervalTrigger"),
        ("and", "apscheduler.triggers.combining.AndTrigger"),
        ("or", "apscheduler.triggers.combining.OrTrigger"),
    ],
)
def test_a_built_in_name_leads_to_its_class(name, class_name):
    loaded = PLUGINS["trigger"][name].load()
    assert f"{loaded.__module__}.{loaded.__qualname__}" == class_name


def test_a_built_in_class_whose_module_cannot_be_imported_is_an_import_error():
    with pytest.raises(ImportError, match="no_such_module"):
        BuiltIn("apscheduler.no_such_module:Name").load()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a distribution that registers plug-ins; counts how often the others are asked."""
    info = tmp_path / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[testing.executors]\nmine = {__name__}:Threads\ndebug = {__name__}:nothing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    asked = []
    entry_points = importlib.metadata.entry_points

    def counted(**selected):
        asked.append(selected)
        return entry_points(**selected)

    monkeypatch.setattr(importlib.metadata, "entry_points", counted)
    return asked


@pytest.fixture
def table():
    return PluginTable("testing.executors", {"debug": f"{__name__}:Executor"})


def test_others_are_asked_only_for_a_name_that_is_not_our_own(installed, table):
    assert table["debug"].load() is Executor
    assert list(table) == ["debug"]
    assert installed == []

    assert table["mine"].load() is Threads
    assert "mine" in table
    assert installed == [{"group": "testing.executors"}]


def test_our_own_names_are_not_given_to_others(installed, table):
    assert "mine" in table
    assert table["debug"].load() is Executor
    assert list(table) == ["debug", "mine"]


def test_others_are_asked_once_for_names_that_nobody_has(installed, table):
    for _ in range(3):
        assert "nobody's" not in table
        with pytest.raises(KeyError, match="nobody's"):
            table["nobody's"]
    assert len(installed) == 1


def test_a_program_may_write_its_own_names(installed, table):
    table["mine"] = entry_point = EntryPoint(Executor)
    assert table["mine"] is entry_point
    assert "nobody's" not in table
    assert table["mine"] is entry_point


@pytest.mark.slow
def test_nothing_heavy_is_imported_for_options():
    program = (
        "import sys, apscheduler._config;"
        "print(*{'importlib.metadata', 'asyncio', 'concurrent.futures'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.split() == []


def test_a_class_is_loaded_once():
    plugins, classes = {"threads": EntryPoint(Threads)}, {}
    for _ in range(2):
        assert load_plugin("executor", "threads", plugins, classes, Executor) is Threads
    assert plugins["threads"].loads == 1
    assert classes == {"threads": Threads}


def test_a_class_in_the_cache_is_found_before_any_plugin():
    plugins = {"threads": EntryPoint(Threads)}
    assert load_plugin("executor", "threads", plugins, {"threads": Executor}, Executor) is Executor
    assert plugins["threads"].loads == 0


@pytest.mark.parametrize("kind", ["trigger", "executor", "jobstore"])
def test_a_name_that_nobody_has_is_a_lookup_error(kind):
    with pytest.raises(LookupError) as caught:
        load_plugin(kind, "x", {}, {}, Executor)
    assert caught.value.args == (f'No {kind} by the name "x" was found',)


@pytest.mark.parametrize("loaded", [int, 5, None, Executor()])
@pytest.mark.parametrize("kind", ["trigger", "executor", "jobstore"])
def test_a_plugin_of_the_wrong_class_is_refused_and_not_kept(kind, loaded):
    classes = {}
    with pytest.raises(TypeError) as caught:
        load_plugin(kind, "x", {"x": EntryPoint(loaded)}, classes, Executor)
    assert caught.value.args == (f"The {kind} entry point does not point to a {kind} class",)
    assert classes == {}


# Executors and job stores


def create(name, options):
    return Threads(plugin=name, **options)


@pytest.mark.parametrize(
    ("value", "made", "options"),
    [
        ({"type": "debug", "size": "3"}, Threads, {"plugin": "debug", "size": "3"}),
        ({"type": "debug", "class": Executor}, Threads, {"plugin": "debug"}),
        ({"type": "", "class": Executor, "size": 3}, Executor, {"size": 3}),
        ({"class": f"{__name__}:Threads", "size": "3"}, Threads, {"size": "3"}),
        (MappingProxyType({"class": Threads}), Threads, {}),
    ],
)
def test_a_component_is_made_from_a_dict_which_stays_as_it_is(value, made, options):
    before = dict(value)
    components = build_components("executors", {"a": value}, Executor, create)
    assert {alias: type(component) for alias, component in components.items()} == {"a": made}
    assert components["a"].options == options
    assert value == before


def test_an_instance_is_taken_as_it_is():
    mine, yours = Executor(), Threads()
    built = build_components("executors", {"mine": mine, "yours": yours}, Executor, create)
    assert list(built.items()) == [("mine", mine), ("yours", yours)]


@pytest.mark.parametrize(
    ("option", "value", "error", "text"),
    [
        (
            "executors",
            {},
            ValueError,
            'Cannot create executor "x" -- either "type" or "class" must be defined',
        ),
        (
            "jobstores",
            {"url": "y"},
            ValueError,
            'Cannot create job store "x" -- either "type" or "class" must be defined',
        ),
        (
            "executors",
            5,
            TypeError,
            "Expected executor instance or dict for executors['x'], got int instead",
        ),
        (
            "jobstores",
            None,
            TypeError,
            "Expected job store instance or dict for jobstores['x'], got NoneType instead",
        ),
        (
            "executors",
            {"class": "builtins:dict", "a": 1},
            TypeError,
            "Expected the class in executors['x'] to make an Executor, got dict instead",
        ),
        ("executors", {"class": "nowhere"}, ValueError, "Invalid reference"),
        (
            "executors",
            {"class": f"{__name__}:nothing"},
            LookupError,
            f"Error resolving reference {__name__}:nothing: error looking up object",
        ),
    ],
)
def test_a_component_that_cannot_be_made_is_named(option, value, error, text):
    with pytest.raises(error) as caught:
        build_components(option, {"x": value}, Executor, create)
    assert caught.value.args == (text,)


@pytest.mark.parametrize("configured", [None, 5, "text", [Executor()]])
@pytest.mark.parametrize("option", ["executors", "jobstores"])
def test_components_must_be_given_by_alias(option, configured):
    with pytest.raises(TypeError) as caught:
        build_components(option, configured, Executor, create)
    assert caught.value.args == (f"{option} must be a dict by alias, got {configured!r}",)
