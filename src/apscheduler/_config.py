"""From options, however they were written, to the objects that a scheduler is made of.

Pure functions: they read what the caller gave and never write into it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, MutableMapping
from datetime import tzinfo
from typing import Any, Final, Literal, Protocol, TypeVar

from apscheduler._values import value
from apscheduler.clock import SYSTEM_CLOCK, Clock
from apscheduler.util import asbool, asint, astimezone, maybe_ref

T = TypeVar("T")
PluginKind = Literal["trigger", "executor", "jobstore"]
ComponentOption = Literal["executors", "jobstores"]


def merge_options(
    gconfig: Mapping[str, Any], prefix: str | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return one tree of options from dotted keys and keywords.

    :param gconfig: values by dotted key, each dot a level of the tree; of two values for one key
        the later one counts
    :param prefix: leave out keys that do not begin with it, and strip it from the others; None or
        empty to take all keys as they are
    :param options: keywords; each replaces the whole subtree of its name
    :raises TypeError: if a value has keys below it and is not a dict
    """
    if not isinstance(gconfig, Mapping):
        raise TypeError(f"gconfig must be a dict of options, got {gconfig!r}")
    prefix = prefix or ""
    tree: dict[str, Any] = {}
    for key, given in gconfig.items():
        if not isinstance(key, str):
            raise TypeError(f"gconfig must have text for keys, got {key!r}")
        if key.startswith(prefix):
            _plant(tree, key.removeprefix(prefix), given)
    return {**tree, **options}


def _plant(tree: dict[str, Any], key: str, value: Any) -> None:
    *branches, leaf = key.split(".")
    for branch in branches:
        below = tree.get(branch, {})
        if not isinstance(below, Mapping):
            raise TypeError(
                f"{branch} must be a dict to have {key} below it, got {below!r}; "
                f"leave out one of the two"
            )
        # A copy, for it may be the caller's own.
        tree[branch] = dict(below)
        tree = tree[branch]
    tree[leaf] = value


class Plugin(Protocol):
    """What a plug-in's name stands for: an entry point, or anything like it."""

    def load(self) -> Any:
        """Return the class."""


class BuiltIn:
    """A class of this package, imported when it is asked for.

    Entry points would do the same, but need the metadata of an installed distribution, which a
    frozen program lacks, and a module to read them that takes longer to import than all of ours.

    :param reference: the class as ``"module:name"``
    """

    __slots__ = ("_reference",)

    def __init__(self, reference: str) -> None:
        self._reference = reference

    def load(self) -> Any:
        """Return the class.

        :raises ImportError: if what its module needs is not installed
        """
        from importlib import import_module

        module, _, name = self._reference.partition(":")
        return getattr(import_module(module), name)


class PluginTable(dict[str, Plugin]):
    """Plug-ins of one kind by name: our own, and those that other distributions register.

    Other distributions are asked once, when a name is looked up that is not there; until then
    the table lists our own names only.

    :param group: the group of entry points in which others register theirs
    :param built_in: references to our own classes by name
    """

    def __init__(self, group: str, built_in: Mapping[str, str]) -> None:
        super().__init__((name, BuiltIn(reference)) for name, reference in built_in.items())
        self._group = group
        self._complete = False

    def __missing__(self, name: str) -> Plugin:
        if name in self:
            return self[name]
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        self._ask_others()
        return super().__contains__(name)

    def _ask_others(self) -> None:
        if not self._complete:
            from importlib.metadata import entry_points

            for entry_point in entry_points(group=self._group):
                self.setdefault(entry_point.name, entry_point)
            self._complete = True


PLUGINS: dict[PluginKind, PluginTable] = {
    "trigger": PluginTable(
        "apscheduler.triggers",
        {
            "date": "apscheduler.triggers.date:DateTrigger",
            "interval": "apscheduler.triggers.interval:IntervalTrigger",
            "cron": "apscheduler.triggers.cron:CronTrigger",
            "calendarinterval": "apscheduler.triggers.calendarinterval:CalendarIntervalTrigger",
            "and": "apscheduler.triggers.combining:AndTrigger",
            "or": "apscheduler.triggers.combining:OrTrigger",
        },
    ),
    "executor": PluginTable(
        "apscheduler.executors",
        {
            "debug": "apscheduler.executors.debug:DebugExecutor",
            "threadpool": "apscheduler.executors.pool:ThreadPoolExecutor",
            "processpool": "apscheduler.executors.pool:ProcessPoolExecutor",
            "asyncio": "apscheduler.executors.asyncio:AsyncIOExecutor",
            "gevent": "apscheduler.executors.gevent:GeventExecutor",
            "tornado": "apscheduler.executors.tornado:TornadoExecutor",
            "twisted": "apscheduler.executors.twisted:TwistedExecutor",
        },
    ),
    "jobstore": PluginTable(
        "apscheduler.jobstores",
        {
            "memory": "apscheduler.jobstores.memory:MemoryJobStore",
            "sqlalchemy": "apscheduler.jobstores.sqlalchemy:SQLAlchemyJobStore",
            "mongodb": "apscheduler.jobstores.mongodb:MongoDBJobStore",
            "rethinkdb": "apscheduler.jobstores.rethinkdb:RethinkDBJobStore",
            "redis": "apscheduler.jobstores.redis:RedisJobStore",
            "zookeeper": "apscheduler.jobstores.zookeeper:ZooKeeperJobStore",
            "etcd": "apscheduler.jobstores.etcd:EtcdJobStore",
        },
    ),
}


def load_plugin(
    kind: str,
    alias: str,
    plugins: Mapping[str, Plugin],
    classes: MutableMapping[str, Any],
    base_class: type,
) -> Any:
    """Return the class of the plug-in by a name.

    :param kind: the kind of plug-in, for messages
    :param alias: name of the plug-in
    :param plugins: where to load the class from
    :param classes: classes by name that need no loading; one that is loaded is added
    :param base_class: what the class must derive from
    :raises LookupError: if there is no plug-in by that name
    :raises TypeError: if the class does not derive from ``base_class``
    :raises ImportError: if what the plug-in needs is not installed
    """
    if alias not in classes:
        if alias not in plugins:
            raise LookupError(f'No {kind} by the name "{alias}" was found')
        plugin_class = plugins[alias].load()
        if not (isinstance(plugin_class, type) and issubclass(plugin_class, base_class)):
            raise TypeError(f"The {kind} entry point does not point to a {kind} class")
        classes[alias] = plugin_class
    return classes[alias]


_NOUNS: dict[ComponentOption, str] = {"executors": "executor", "jobstores": "job store"}


def build_components(
    option: ComponentOption,
    configured: Mapping[str, Any],
    base_class: type,
    create: Callable[[str, dict[str, Any]], Any],
) -> dict[str, Any]:
    """Return executors or job stores by alias, all of them made before any is put to use.

    :param option: which of the two
    :param configured: by alias either an instance, or a dict with ``type`` (name of a plug-in,
        which wins) or ``class`` (a class or a textual reference to one), and otherwise the
        keyword arguments of its constructor
    :param base_class: what each of them must be an instance of
    :param create: makes an instance from the name of a plug-in and keyword arguments
    :raises TypeError: if one is neither, or turns out to be an instance of something else
    :raises ValueError: if one is a dict with neither ``type`` nor ``class``
    :raises LookupError: if there is no such plug-in, or a reference leads nowhere
    """
    if not isinstance(configured, Mapping):
        raise TypeError(f"{option} must be a dict by alias, got {configured!r}")
    return {
        alias: value
        if isinstance(value, base_class)
        else _build(option, alias, value, base_class, create)
        for alias, value in configured.items()
    }


def _build(
    option: ComponentOption,
    alias: str,
    value: Any,
    base_class: type,
    create: Callable[[str, dict[str, Any]], Any],
) -> Any:
    noun = _NOUNS[option]
    if not isinstance(value, Mapping):
        raise TypeError(
            f"Expected {noun} instance or dict for {option}['{alias}'], "
            f"got {type(value).__name__} instead"
        )
    arguments = dict(value)
    plugin, cls = arguments.pop("type", None), arguments.pop("class", None)
    if plugin:
        return create(plugin, arguments)
    if not cls:
        raise ValueError(
            f'Cannot create {noun} "{alias}" -- either "type" or "class" must be defined'
        )

    component = maybe_ref(cls)(**arguments)
    if not isinstance(component, base_class):
        raise TypeError(
            f"Expected the class in {option}['{alias}'] to make an {base_class.__name__}, "
            f"got {type(component).__name__} instead"
        )
    return component


@value
class Settings:
    """The options of a scheduler that are not executors or job stores.

    :param logger: where the scheduler logs
    :param timezone: the zone of times that name none
    :param jobstore_retry_interval: seconds until a job store that failed is asked again
    :param job_defaults: ``misfire_grace_time``, ``coalesce`` and ``max_instances`` of jobs that
        were added without
    :param max_sleep: seconds after which the clock is looked at again, however far the next run
    :param clock: what the scheduler takes for the time
    """

    logger: logging.Logger
    timezone: tzinfo
    jobstore_retry_interval: float
    job_defaults: dict[str, Any]
    max_sleep: float
    clock: Clock


def read_settings(options: Mapping[str, Any], local_timezone: Callable[[], tzinfo]) -> Settings:
    """Return the settings that ``options`` ask for, with defaults where they are silent.

    :param options: what `merge_options` returned; names that mean nothing here are ignored
    :param local_timezone: finds the time zone of this machine, called if none is given
    :raises TypeError: if a value is of the wrong type
    :raises ValueError: if a value cannot be read
    :raises LookupError: if a textual reference leads nowhere, or there is no such time zone
    """
    logger = options.get("logger")
    zone: str | tzinfo | None = options.get("timezone")
    timezone = astimezone(zone)
    return Settings(
        logger=logging.getLogger("apscheduler.scheduler")
        if logger is None
        else _convert(maybe_ref, "logger", logger, "a logger or a reference (module:name) to one"),
        timezone=local_timezone() if timezone is None else timezone,
        jobstore_retry_interval=_convert(
            float,
            "jobstore_retry_interval",
            options.get("jobstore_retry_interval", 10),
            "a number of seconds",
        ),
        job_defaults=read_job_defaults(options["job_defaults"])
        if "job_defaults" in options
        else dict(JOB_DEFAULTS),
        max_sleep=_max_sleep(options["max_sleep"]) if "max_sleep" in options else 10.0,
        clock=_clock(options["clock"]) if "clock" in options else SYSTEM_CLOCK,
    )


#: The policy of jobs for which nobody has said anything else.
JOB_DEFAULTS: Final[Mapping[str, Any]] = {
    "misfire_grace_time": 1,
    "coalesce": True,
    "max_instances": 1,
}


def read_job_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the policy of jobs that were added without one, from values or their texts.

    :param given: ``misfire_grace_time`` (seconds or None, default 1), ``coalesce`` (default True)
        and ``max_instances`` (default 1). Whether a number is in range is found when a job is
        added
    :raises TypeError: if a value is of the wrong type
    :raises ValueError: if a text cannot be read
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"job_defaults must be a dict of options, got {given!r}")

    def read(name: str, convert: Callable[[Any], Any], wanted: str) -> Any:
        value = given.get(name, JOB_DEFAULTS[name])
        return _convert(convert, f"job_defaults[{name!r}]", value, wanted)

    return {
        "misfire_grace_time": read(
            "misfire_grace_time", asint, "a whole number of seconds or None"
        ),
        "coalesce": read("coalesce", asbool, "a boolean, or true or false as text"),
        "max_instances": read("max_instances", asint, "a whole number"),
    }


def _convert(convert: Callable[[Any], T], name: str, value: Any, wanted: str) -> T:
    try:
        return convert(value)
    except (TypeError, ValueError) as exc:
        error = TypeError if isinstance(exc, TypeError) else ValueError
        raise error(f"{name} must be {wanted}, got {value!r}: {exc}") from exc


def _max_sleep(value: Any) -> float:
    name, wanted = "max_sleep", "a number of seconds greater than 0, such as the default of 10"
    if isinstance(value, bool):
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    seconds = _convert(float, name, value, wanted)
    if not 0 < seconds < math.inf:
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return seconds


def _clock(value: Any) -> Clock:
    methods = ("now", "monotonic", "seconds_until")
    if isinstance(value, type) or not all(callable(getattr(value, m, None)) for m in methods):
        raise TypeError(
            f"clock must be an object with the methods now(), monotonic() and "
            f"seconds_until(moment), such as apscheduler.clock.SYSTEM_CLOCK, got {value!r}"
        )
    clock: Clock = value
    return clock
