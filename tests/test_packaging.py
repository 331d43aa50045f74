"""What is installed under which name."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import apscheduler
from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.base import BaseJobStore
from apscheduler.triggers.base import BaseTrigger
from programs import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BASES = {
    "apscheduler.triggers": BaseTrigger,
    "apscheduler.executors": BaseExecutor,
    "apscheduler.jobstores": BaseJobStore,
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return zipfile.ZipFile(next(folder.iterdir()))


def test_the_version_is_told_in_three_ways_that_agree() -> None:
    assert apscheduler.version == apscheduler.__version__ == apscheduler.release
    assert apscheduler.version_info == tuple(map(int, apscheduler.version.split(".")))


def test_packages_that_require_version_3_but_not_4_accept_this_one() -> None:
    assert (3, 11, 3) < apscheduler.version_info < (4,)


def test_the_wheel_holds_the_package_its_types_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    release = f"apscheduler-{apscheduler.version}.dist-info"
    sources = {
        str(path.relative_to(ROOT / "src"))
        for path in Path(ROOT, "src", "apscheduler").rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert "apscheduler/py.typed" in sources
    assert {name for name in wheel.namelist() if not name.startswith(release)} == sources
    assert f"{release}/licenses/LICENSE" in wheel.namelist()


def test_the_wheel_is_called_apscheduler_and_says_its_version(wheel: zipfile.ZipFile) -> None:
    metadata = wheel.read(f"apscheduler-{apscheduler.version}.dist-info/METADATA").decode()
    assert "\nName: apscheduler\n" in metadata
    assert f"\nVersion: {apscheduler.version}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "\nLicense-Expression: MIT\n" in metadata


def test_nothing_but_time_zones_is_required() -> None:
    assert PROJECT["dependencies"] == ["tzlocal>=3.0", "tzdata; platform_system == 'Windows'"]


@pytest.mark.parametrize("group", BASES)
def test_each_entry_point_leads_to_a_class_of_its_kind(group: str) -> None:
    for name, value in PROJECT["entry-points"][group].items():
        assert issubclass(EntryPoint(name, value, group).load(), BASES[group]), name


def test_the_entry_points_have_the_names_of_3_11() -> None:
    names = {group: set(points) for group, points in PROJECT["entry-points"].items()}
    assert names == {
        "apscheduler.triggers": {"date", "interval", "cron", "calendarinterval", "and", "or"},
        "apscheduler.executors": {
            *("debug", "threadpool", "processpool", "asyncio"),
            *("gevent", "tornado", "twisted"),
        },
        "apscheduler.jobstores": {"memory", "sqlalchemy"},
    }


def test_the_extras_have_the_names_and_requirements_of_3_11_and_there_are_two_more() -> None:
    development = {"test", "doc", "dev"}
    extras = PROJECT["optional-dependencies"]
    assert development < set(extras)
    assert {name: needs for name, needs in extras.items() if name not in development} == {
        "mysql": ["apscheduler[sqlalchemy]", "pymysql>=1.1"],
        "postgresql": ["apscheduler[sqlalchemy]", "psycopg[binary]>=3.1"],
        "etcd": ["etcd3", "protobuf<=3.21.0"],
        "gevent": ["gevent"],
        "mongodb": ["pymongo>=3.0"],
        "redis": ["redis>=3.0"],
        "rethinkdb": ["rethinkdb>=2.4.0"],
        "sqlalchemy": ["sqlalchemy>=1.4"],
        "tornado": ["tornado>=4.3"],
        "twisted": ["twisted"],
        "zookeeper": ["kazoo"],
    }


@pytest.mark.parametrize(
    "heavy", ["asyncio", "concurrent.futures.process", "importlib.metadata", "multiprocessing"]
)
def test_importing_the_background_scheduler_does_not_import_what_it_may_never_need(
    heavy: str,
) -> None:
    script = "import sys, apscheduler.schedulers.background; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert heavy not in loaded.stdout.split()
