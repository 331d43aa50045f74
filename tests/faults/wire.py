"""What an engine sends to its database, one statement or commit after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy.engine import Engine

#: Called with the number of what is sent, from 0 on, whether it has been sent yet, and its text.
Act = Callable[[int, bool, str], object]

COMMIT = "COMMIT"
_METHODS = ("do_execute", "do_executemany", "do_execute_no_params", "do_commit")


class Wire:
    """Watches an engine from now on.

    :param act: called before and after each statement and each commit. What it raises comes to
        the engine as if the driver had raised it
    """

    def __init__(self, engine: Engine, act: Act) -> None:
        self.sent = 0
        self._act = act
        self._dialect: Any = engine.dialect
        for name in _METHODS:
            setattr(self._dialect, name, partial(self._send, getattr(self._dialect, name)))

    def cut(self) -> None:
        """Watch no more."""
        for name in _METHODS:
            delattr(self._dialect, name)

    def _send(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        statement = args[1] if len(args) > 1 else COMMIT
        number, self.sent = self.sent, self.sent + 1
        self._act(number, False, statement)
        try:
            method(*args, **kwargs)
        finally:
            self._act(number, True, statement)
