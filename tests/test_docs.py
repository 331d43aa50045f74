"""What the README and the documentation show is run, and prints what they say it prints.

The Python blocks of a page are one program, from top to bottom. A ``text`` block right after one
is what it prints. What a page needs but a reader does not stands in a comment that begins with
``<!-- given``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from apscheduler.runs import TRANSITIONS, transition_table
from programs import ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MARK = "end of block"
BLOCK = re.compile(
    r"^(?P<indent> *)(?:```(?P<language>\w+)[^\n]*|<!-- given)\n"
    r"(?P<text>.*?)"
    r"^ *(?:```|-->)\n(?P<blank>\n?)",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    code: str
    line: int
    printed: str | None


def blocks(page: Path) -> list[Block]:
    """Return the Python blocks of a page, each with the output that the page gives for it."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    end = None
    for match in BLOCK.finditer(text):
        inside = re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        if match["language"] in {"python", None}:
            found.append(Block(inside, text.count("\n", 0, match.start()) + 2, None))
            end = match.end()
        elif match["language"] == "text" and match.start() == end:
            found[-1] = found[-1]._replace(printed=inside)
    return found


def program(page: Path) -> str:
    """Return the blocks of a page as one program, whose tracebacks give the page's own lines."""
    lines = ["import sys"]
    for block in blocks(page):
        source = "\n" * (block.line - 1) + block.code
        lines.append(f"exec(compile({source!r}, {str(page)!r}, 'exec'), globals())")
        lines.append(f"print({MARK!r}, flush=True)")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if blocks(page)],
)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    source = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program(page)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": source, "TZ": "UTC"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    printed = ran.stdout.split(f"{MARK}\n")
    for block, output in zip(blocks(page), printed, strict=False):
        assert output == (block.printed or ""), f"{page.name}, line {block.line}"


def test_the_life_of_a_run_is_drawn_from_the_table_that_the_code_goes_by() -> None:
    page = (ROOT / "docs/runs-and-fates.md").read_text(encoding="utf-8")
    assert f"```text\n{transition_table()}\n```\n" in page
    for state in TRANSITIONS:
        assert f"\n| `{state}` |" in page, f"{state} is not explained"


def test_the_map_of_the_rooms_names_every_module_and_no_other() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (rooms,) = re.findall(r"```\nsrc/apscheduler/\n(.*?)```", page, re.DOTALL)
    modules = {path.name for path in (ROOT / "src/apscheduler").rglob("*.py")}
    assert set(re.findall(r"\w+\.py\b", rooms)) == modules


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert f": {page.relative_to(ROOT / 'docs')}\n" in contents
