"""Where the workers of a server are known, a scheduler says that each of them runs all jobs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from apscheduler._prefork import Siblings, siblings
from apscheduler.jobstores.base import BaseJobStore
from apscheduler.schedulers.background import BackgroundScheduler

Call = Callable[[], Any]


def inside(module: str, function: str, **names: Any) -> Callable[[Call], Any]:
    """Return what calls a function from inside one of that name, which has these local names."""
    namespace: dict[str, Any] = {"__name__": module}
    exec(
        f"def {function}(call, {', '.join(names) or '*none'}):\n    return call()\n",
        namespace,
    )
    return lambda call: namespace[function](call, **names)


def of_gunicorn(workers: int) -> Callable[[Call], Any]:
    return inside("gunicorn.arbiter", "spawn_worker", self=SimpleNamespace(num_workers=workers))


def initializer() -> None:
    """Stand for what celery lets its workers begin with."""


CONFIG = SimpleNamespace(workers=3)
SERVERS = {
    "gunicorn": (of_gunicorn(3), Siblings("gunicorn", 3)),
    "uvicorn": (
        inside("uvicorn._subprocess", "subprocess_started", config=CONFIG),
        Siblings("uvicorn", 3),
    ),
    "hypercorn": (
        inside("hypercorn.asyncio.run", "asyncio_worker", config=CONFIG),
        Siblings("hypercorn", 3),
    ),
    "celery": (
        inside("billiard.pool", "__call__", self=SimpleNamespace(initializer=initializer)),
        Siblings("celery", None),
    ),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_worker_is_known_by_the_function_that_it_runs_in(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initializer, "__module__", "celery.concurrency.prefork")
    call, expected = SERVERS[server]
    assert call(siblings) == expected
    assert siblings() is None


def test_a_pool_of_somebody_elses_is_no_worker_of_celery() -> None:
    assert SERVERS["celery"][0](siblings) is None


def test_an_only_worker_has_no_siblings() -> None:
    assert of_gunicorn(1)(siblings) is None


def test_a_server_that_has_changed_inside_is_not_guessed_at() -> None:
    assert inside("gunicorn.arbiter", "spawn_worker", number=3)(siblings) is None


@pytest.mark.parametrize(("worker", "expected"), [(0, None), (2, Siblings("uWSGI", 4))])
def test_of_uwsgi_the_workers_are_known_but_not_the_master(
    worker: int, expected: Siblings | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    uwsgi: Any = ModuleType("uwsgi")
    uwsgi.numproc = 4
    uwsgi.worker_id = lambda: worker
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    assert siblings() == expected


def started(caplog: pytest.LogCaptureFixture, **options: Any) -> list[str]:
    """Start a scheduler in one of three workers, and return what it says of them."""
    caplog.set_level(logging.INFO)
    scheduler = BackgroundScheduler(timezone="UTC", **options)
    of_gunicorn(3)(scheduler.start)
    scheduler.shutdown()
    return [record.getMessage() for record in caplog.records if "worker" in record.msg]


def test_a_scheduler_with_jobs_in_memory_says_what_it_means_to_be_one_of_several(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (said,) = started(caplog)
    assert said.startswith("This is one of 3 worker processes of gunicorn. Each of them that ")
    assert said.endswith("under gunicorn --preload, or in another program")


def test_a_scheduler_whose_jobs_are_elsewhere_has_nothing_to_say(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Elsewhere(BaseJobStore):
        def lookup_job(self, job_id: str) -> Any: ...
        def get_due_jobs(self, now: Any) -> Any:
            return []

        def get_next_run_time(self) -> Any: ...
        def get_all_jobs(self) -> Any: ...
        def add_job(self, job: Any) -> None: ...
        def update_job(self, job: Any) -> None: ...
        def remove_job(self, job_id: str) -> None: ...
        def remove_all_jobs(self) -> None: ...

    assert started(caplog, jobstores={"default": Elsewhere()}) == []
