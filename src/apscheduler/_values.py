"""Classes of values: made once, never changed, equal if all their parts are."""

from __future__ import annotations

from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """Make a class of values from the annotated names in its body.

    Those that its attribute ``__beside__`` lists do not count when values are compared, and are
    not shown.

    It is what `dataclasses.dataclass(slots=True)` would make. But that module, and the twenty
    classes it would have to write, are a third of what it takes to import this library. Frozen
    it is for the type checker only: an assignment that is refused at run time makes each value
    four times as dear, and each fire makes several.
    """
    names = tuple(cls.__annotations__)
    defaults = {name: vars(cls)[name] for name in names if name in vars(cls)}
    left_out = {*names, "__dict__", "__weakref__"}
    body = {name: thing for name, thing in vars(cls).items() if name not in left_out}
    body.update(
        __slots__=names,
        __match_args__=names,
        __init__=_init_of(cls, names, defaults),
        __repr__=_repr,
        __eq__=_eq,
        __hash__=None,
    )
    metaclass: Any = type(cls)
    made: type[T] = metaclass(cls.__name__, cls.__bases__, body)
    return made


def replace(value: T, **changes: Any) -> T:
    """Return a copy of a value with some parts changed."""
    names: tuple[str, ...] = type(value).__match_args__  # type: ignore[attr-defined]
    return type(value)(**{name: getattr(value, name) for name in names} | changes)


def _init_of(cls: type[Any], names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
    parameters = ", ".join(f"{name}=_{name}" if name in defaults else name for name in names)
    lines = [f"self.{name} = {name}" for name in names]
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    space = {f"_{name}": default for name, default in defaults.items()}
    exec(f"def __init__(self, {parameters}):\n    " + "\n    ".join(lines), space)
    init = space["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    return init


def _what_counts(value: Any) -> list[str]:
    beside = getattr(value, "__beside__", ())
    return [name for name in type(value).__match_args__ if name not in beside]


def _repr(self: Any) -> str:
    parts = ", ".join(f"{name}={getattr(self, name)!r}" for name in _what_counts(self))
    return f"{type(self).__qualname__}({parts})"


def _eq(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return all(getattr(self, name) == getattr(other, name) for name in _what_counts(self))
