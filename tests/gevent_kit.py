"""Programs with gevent, each in a process of its own: once with the standard library as it is,
and once patched.

What must hold is a function in a file of programs, which is made with `greenlet_kit`. A test
beside it calls `run` for each name that `names_in` finds.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

from programs import Program

#: How a program comes to be patched: the first thing its interpreter does.
WAYS = {"unpatched": (), "patched": ("-m", "gevent.monkey")}

StartPython = Callable[..., Program]


def names_in(file: Path) -> list[str]:
    """Return the names of the programs in a file, without importing gevent here."""
    return [
        node.name
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]


def run(start_python: StartPython, way: str, file: Path, name: str) -> None:
    """Run a program, and pass on what it says if it fails."""
    tests = Path(__file__).parent
    program = start_python(*WAYS[way], file, name, PYTHONPATH=str(tests))
    status, printed, errors = program.finish(60)
    assert (status, printed[-1:]) == (0, ["held"]), "\n".join([*printed, errors])
    assert "Warning" not in errors, errors
