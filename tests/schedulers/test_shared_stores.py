"""Every host runs the jobs of a store that schedulers share, and leaves it in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from time import monotonic, sleep

import pytest
from host_kit import HOSTS, PATIENCE, Gate, Host

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore

MakeHost = Callable[..., Host]

GATE = Gate()
RAN = Event()


def pass_gate() -> None:
    GATE()


def ran() -> None:
    RAN.set()


async def ran_in_a_coroutine() -> None:
    RAN.set()


@pytest.fixture(autouse=True)
def fresh() -> None:
    GATE.__init__()  # type: ignore[misc]
    RAN.clear()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def shared(request: pytest.FixtureRequest, make_host: MakeHost, url: str) -> Host:
    return make_host(request.param, jobstores={"default": SQLAlchemyJobStore(url)})


every_host = pytest.mark.parametrize("shared", HOSTS, indirect=True)


@every_host
@pytest.mark.parametrize("job", [ran, ran_in_a_coroutine])
def test_a_job_that_is_due_is_run_and_recorded(shared: Host, job: Callable[[], object]) -> None:
    shared.start()
    shared.scheduler.add_job(job, id="j")
    assert RAN.wait(PATIENCE)
    assert shared.ended.next().job_id == "j"
    (run,) = shared.scheduler.get_runs("j")
    assert run.state == "succeeded"
    assert [node.id for node in shared.scheduler.nodes()] == [run.node]
    assert shared.scheduler.health().ok


@every_host
def test_a_shutdown_leaves_the_store_and_what_runs_is_recorded(
    shared: Host, make_host: MakeHost, url: str
) -> None:
    shared.start()
    shared.scheduler.add_job(pass_gate, id="j", misfire_grace_time=None)
    assert GATE.entered.wait(PATIENCE)
    shared.shutdown(wait=False)
    GATE.let_go.set()
    assert GATE.left.wait(PATIENCE)

    store = SQLAlchemyJobStore(url, poll_interval=0.01)
    other = make_host("background", jobstores={"default": store})
    other.start()
    other.scheduler.add_job(ran, misfire_grace_time=None)
    assert RAN.wait(PATIENCE)
    # What its executor lets go on is waited for, and written, when the scheduler is long gone.
    deadline = monotonic() + PATIENCE
    while other.scheduler.get_runs("j")[0].state == "running":
        assert monotonic() < deadline
        sleep(0.005)
    assert other.scheduler.get_runs("j")[0].state in ("succeeded", "cancelled")


@every_host
def test_a_client_runs_nothing(shared: Host, make_host: MakeHost, url: str) -> None:
    store = SQLAlchemyJobStore(url, poll_interval=0.01)
    client = make_host("background", jobstores={"default": store})
    client.start(role="client")
    client.scheduler.add_job(ran, id="j", misfire_grace_time=None)
    assert client.scheduler.nodes() == []
    assert not RAN.is_set()
    shared.start()
    assert RAN.wait(PATIENCE)
    assert shared.ended.next().job_id == "j"
