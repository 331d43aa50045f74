"""Whether what is given for an attribute of a job is what it must be."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import FunctionType, MethodType
from typing import Any, Final

from apscheduler.triggers.base import BaseTrigger
from apscheduler.util import obj_to_ref, ref_to_obj

_NOT_YET: Final = object()


def approve_func(value: Any) -> tuple[Callable[..., Any], str | None]:
    """Return a callable, and the text that leads to it."""
    if type(value) is FunctionType:  # nearly always, and of a module
        module, name = value.__module__, value.__qualname__
        reference = _reference(module, name)
        if reference and getattr(sys.modules.get(module), name, _NOT_YET) is value:
            return value, reference
    if isinstance(value, str):
        func, func_ref = ref_to_obj(value), value
    else:
        func, func_ref = value, None
    if not callable(func):
        raise TypeError("func must be a callable or a textual reference to one")
    return func, func_ref or _reference_to(func)


def _reference_to(func: Callable[..., Any]) -> str | None:
    try:
        reference = obj_to_ref(func)
    except (ValueError, AttributeError):  # methods of built-in types know no module
        return None
    return _shared(reference) if _leads_to(reference, func) else None


# One text for all jobs of a function.
@lru_cache(maxsize=1024)
def _reference(module: str, name: str) -> str | None:
    return f"{module}:{name}" if name.isidentifier() else None


@lru_cache(maxsize=1024)
def _shared(reference: str) -> str:
    return reference


def _leads_to(reference: str, func: Callable[..., Any]) -> bool:
    """Whether ``reference`` would be resolved to ``func``, and not to something beside it."""
    module_name, _, path = reference.partition(":")
    module = sys.modules.get(module_name)
    if module is None:
        return False
    found = getattr(module, path, _NOT_YET)
    if found is func:
        return True
    first, *rest = path.split(".")
    found = getattr(module, first, _NOT_YET)
    if found is _NOT_YET:
        # Its module does not have it yet: it is just being decorated.
        return True
    for name in rest:
        found = getattr(found, name, None)
    if isinstance(func, MethodType):
        # Each access makes another method object. One of an instance is stored as the function
        # of its class, with the instance as first argument.
        return found == func or found is func.__func__
    return found is func


def approve_args(value: Any) -> Iterable[Any]:
    if type(value) is tuple or type(value) is list:
        return value  # nearly always, and asking an abstract class takes its time
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise TypeError("args must be a non-string iterable")
    # What can be read only once would be used up by the first look at it.
    return tuple(value) if isinstance(value, Iterator) else value


def approve_kwargs(value: Any) -> Mapping[str, Any]:
    if type(value) is not dict and not isinstance(value, Mapping):
        raise TypeError("kwargs must be a dict-like object")
    return value


def approve_id(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("id must be a nonempty string")
    return value


def approve_name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("name must be a nonempty string")
    return value


def approve_misfire_grace_time(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or value <= 0):
        raise TypeError("misfire_grace_time must be either None or a positive integer")
    return value


def approve_max_instances(value: Any) -> int:
    if not isinstance(value, int) or value <= 0:
        raise TypeError("max_instances must be a positive integer")
    return value


def approve_trigger(value: Any) -> BaseTrigger:
    if not isinstance(value, BaseTrigger):
        raise TypeError(f"Expected a trigger instance, got {type(value).__name__} instead")
    return value


def approve_executor(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("executor must be a string")
    return value


def approve_recover(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"recover must be True or False, got {value!r}")
    return value


#: Attributes that depend on no other, in the order in which they are checked.
POLICIES: dict[str, Callable[[Any], Any]] = {
    "misfire_grace_time": approve_misfire_grace_time,
    "coalesce": bool,
    "max_instances": approve_max_instances,
    "trigger": approve_trigger,
    "executor": approve_executor,
    "recover": approve_recover,
}
MODIFIABLE = frozenset({"id", "func", "args", "kwargs", "name", "next_run_time", *POLICIES})
