"""What a row consists of, to the last type, without the classes of either library."""

from __future__ import annotations

import io
import pickle
from typing import Any


class Instance:
    """An object of a class of the library that wrote the row."""

    where: str
    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "apscheduler":
            return type(name, (Instance,), {"where": f"{module}:{name}"})
        return super().find_class(module, name)


def layout(row: bytes) -> Any:
    """Return the keys in their order, the values with their types, and the classes by name."""
    return _plain(_Reader(io.BytesIO(row)).load())


def value(row: bytes, *keys: str) -> Any:
    """Return a value of the state, found key by key."""
    found = _Reader(io.BytesIO(row)).load()
    for key in keys:
        found = (found.state if isinstance(found, Instance) else found)[key]
    return found


def without(laid_out: Any, *keys: str) -> Any:
    """Return the layout with some keys left out of all its dicts."""
    if not isinstance(laid_out, tuple | list):
        return laid_out
    left_out = [("str", repr(key)) for key in keys]
    return type(laid_out)(
        without(part, *keys)
        for part in laid_out
        if not (isinstance(part, tuple) and part and part[0] in left_out)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Instance):
        return value.where, _plain(value.state)
    if isinstance(value, dict):
        return "dict", [(_plain(key), _plain(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value).__name__, [_plain(item) for item in value]
    return type(value).__name__, repr(value)
