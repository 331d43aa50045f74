"""How word of edits is waited for while connections break at once; needs no server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from sql_kit import File, started

from apscheduler.jobstores._sql import watch
from apscheduler.jobstores._sql.watch import Watch

PATIENCE = 20


class Breaking(Watch):
    """Its connections are broken as soon as they are there, but for those that are to hold."""

    listened = 0
    holds = False

    def _listen(self) -> Any:
        self.listened += 1
        return SimpleNamespace(
            dbapi_connection=SimpleNamespace(close=lambda: None, fileno=self._some_file)
        )

    def _some_file(self) -> int:
        assert self._pipe is not None
        return self._pipe[0]

    def take(self, raw: Any) -> bool:
        if not self.holds:
            raise ConnectionError
        return True


@pytest.fixture
def breaking(tmp_path: Path) -> Iterator[Breaking]:
    store = started(File(tmp_path).url)
    breaking = Breaking(store._database)
    breaking._take = breaking.take
    yield breaking
    breaking.end()
    store.shutdown()


def test_it_rests_before_it_replaces_a_connection_that_broke_at_once(
    breaking: Breaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "REST", 0.1)
    assert breaking.wait(PATIENCE)
    assert breaking.wait(PATIENCE)
    for listened in (2, 3):
        before = monotonic()
        assert breaking.wait(PATIENCE)
        assert monotonic() - before >= 0.1
        assert breaking.listened == listened
        assert breaking.wait(PATIENCE)


def test_it_replaces_a_connection_at_once_that_was_of_use(
    breaking: Breaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "REST", PATIENCE)
    assert breaking.wait(PATIENCE)
    breaking.holds = True
    assert breaking.wait(PATIENCE)
    breaking.holds = False
    assert breaking.wait(PATIENCE)
    before = monotonic()
    assert breaking.wait(PATIENCE)
    assert monotonic() - before < PATIENCE / 2
    assert breaking.listened == 2


def test_its_rest_can_be_ended(breaking: Breaking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "REST", 10 * PATIENCE)
    assert breaking.wait(PATIENCE)
    assert breaking.wait(PATIENCE)
    with ThreadPoolExecutor(1) as thread:
        resting = thread.submit(breaking.wait, 10 * PATIENCE)
        while not breaking._waiting:
            pass
        breaking.end()
        assert not resting.result(PATIENCE)
    assert breaking.listened == 1


def test_it_rests_no_longer_than_it_is_to_wait(breaking: Breaking) -> None:
    assert breaking.wait(0)
    assert breaking.wait(0)
    before = monotonic()
    assert breaking.wait(0)
    assert monotonic() - before < watch.REST
