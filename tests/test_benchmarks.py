"""The benchmarks measure what they say, and every one of their programs runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.__main__ import chosen
from benchmarks.catalog import ROWS, Limit, Ratio, Row, Size
from benchmarks.compare import Comparison, compare
from benchmarks.databases import MissingDatabaseError, provided
from benchmarks.libraries import Library, ScenarioError, ours
from benchmarks.measure import Figure, percentile
from benchmarks.report import document, line, quantity, times
from benchmarks.stored import Database, Ledger, fill, hourly, later, multiply, seconds_of

RATE = Row("a rate", "add", "/s", Ratio(4), Size(1000, 100, 10), {"trigger": "interval"})
COST = Row("a cost", "idle", "ms", Limit(5), Size(10, 5, 1))


def compared(row: Row, *pairs: tuple[float, float]) -> Comparison:
    figures = [(Figure(our, 10.0), Figure(their, 30.0)) for our, their in pairs]
    return Comparison(row, row.size.full, figures)


@pytest.fixture(scope="module")
def our_library() -> Library:
    return ours()


def test_a_rate_is_better_when_it_is_higher_and_a_cost_when_it_is_lower() -> None:
    assert RATE.advantage(ours=200, theirs=50) == 4
    assert COST.advantage(ours=50, theirs=200) == 4


def test_the_ratio_is_the_median_of_the_ratios_of_the_pairs_not_of_all_figures() -> None:
    slow_spell_in_the_second_pair = compared(RATE, (400, 100), (50, 10), (300, 100))

    assert slow_spell_in_the_second_pair.ratios == [3, 4, 5]
    assert slow_spell_in_the_second_pair.ratio == 4


def test_processor_time_is_compared_only_where_both_sides_counted_operations() -> None:
    assert compared(RATE, (400, 100)).cpu_ratio == 3
    assert Comparison(RATE, 10, [(Figure(400), Figure(100, 30.0))]).cpu_ratio is None


@pytest.mark.parametrize(
    ("our_rate", "verdict"), [(400, "pass"), (399, "half"), (200, "half"), (199, "FAIL")]
)
def test_a_ratio_passes_at_what_is_asked_and_fails_below_half_of_it(
    our_rate: float, verdict: str
) -> None:
    assert compared(RATE, (our_rate, 100)).verdict == verdict


@pytest.mark.parametrize(
    ("our_cost", "verdict"), [(5, "pass"), (5.1, "half"), (10, "half"), (10.1, "FAIL")]
)
def test_a_limit_passes_up_to_its_value_whatever_the_other_side_needs(
    our_cost: float, verdict: str
) -> None:
    assert compared(COST, (our_cost, 0.001)).verdict == verdict


def test_a_row_without_figures_is_an_error_and_shows_why(our_library: Library) -> None:
    broken = replace(RATE, options={"no_such_option": 1})
    comparison = compare(broken, 1, 3, (our_library, our_library), announce=str)

    assert comparison.verdict == "error"
    assert comparison.pairs == []
    assert "error: exit status 1: TypeError" in line(comparison)


def test_both_sides_are_measured_in_turn(our_library: Library) -> None:
    announced: list[str] = []
    other = replace(our_library, name="theirs")
    compare(RATE, 1, 2, (our_library, other), announced.append)

    assert [text.rsplit(", ")[-1] for text in announced] == ["ours", "theirs"] * 2


@dataclass(frozen=True)
class Recorder(Library):
    """A library that answers at once and notes what it is asked for."""

    asked: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)

    def measure(self, scenario: str, size: int, options: Mapping[str, object]) -> Figure:
        self.asked.append((scenario, options))
        return Figure(1.0)


def test_a_row_against_ourselves_is_measured_with_our_library_and_other_options() -> None:
    us = Recorder("ours", Path(sys.executable), "1")
    them = Recorder("theirs", Path(sys.executable), "2")
    row = Row(
        "nodes", "claims", "/s", Ratio(0.8), Size(9, 9, 9), {"a": 1, "b": 2}, against={"b": 3}
    )
    comparison = compare(row, 9, 1, (us, them), announce=str)

    assert us.asked == [("claims", {"a": 1, "b": 2}), ("claims", {"a": 1, "b": 3})]
    assert them.asked == []
    assert document([comparison], [us, them])["rows"][0]["their_options"] == {"a": 1, "b": 3}


def test_a_process_that_finds_another_version_is_not_measured(our_library: Library) -> None:
    mistaken = replace(our_library, version="3.11.3")

    with pytest.raises(ScenarioError, match=r"does not find apscheduler 3\.11\.3"):
        mistaken.measure(RATE.scenario, 1, RATE.options)


def test_a_percentile_is_one_of_the_values_and_enough_of_them_lie_below() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([7], 0.99) == 7
    assert percentile([1, 2], 0.0) == 1


def test_figures_are_printed_to_about_three_digits_with_their_unit() -> None:
    assert quantity(26_712.4, "/s") == "26,712/s"
    assert quantity(12.34, "ms") == "12.3 ms"
    assert quantity(0.284, "ms") == "0.28 ms"
    assert times(3.456) == "3.46x"
    assert times(34.56) == "34.6x"
    assert times(345.6) == "346x"
    assert times(None) == ""


def test_a_line_shows_both_figures_the_ratio_its_spread_and_what_is_asked() -> None:
    words = line(compared(RATE, (300, 100), (400, 100), (500, 100))).split()

    assert words[2:] == (
        ["1,000", "400/s", "100/s", "4.00x", "3.00x-5.00x", "3.00x", "4x", "2x", "pass"]
    )


def test_the_document_holds_every_figure_and_the_versions(our_library: Library) -> None:
    written = document([compared(RATE, (400, 100))], [our_library])

    assert written["versions"] == {"ours": our_library.version}
    assert written["rows"][0]["pairs"] == [
        {"ours": {"value": 400, "cpu": 10.0}, "theirs": {"value": 100, "cpu": 30.0}}
    ]


def test_rows_are_chosen_by_any_text_in_their_title() -> None:
    titles = {row.title for row in chosen(["construct", "idle minute, 0"])}

    assert titles == {"construct, keywords", "construct, from_crontab", "idle minute, 0 jobs"}
    assert chosen(["no such row"]) == []
    assert chosen(None) == list(ROWS)


def test_a_scenario_that_names_a_store_gets_an_empty_file_which_is_gone_afterwards() -> None:
    with provided({"store": "sqlite WAL", "count": "cpu"}) as options:
        database = Database(**options.pop("database"))  # type: ignore[arg-type]
        file = Path(database.url.removeprefix("sqlite:///"))
        assert (options, database.journal, database.server) == ({"count": "cpu"}, "WAL", None)
        assert list(file.parent.iterdir()) == []
    assert not file.parent.exists()


def test_a_scenario_that_names_no_store_gets_its_options_as_they_are() -> None:
    with provided({"trigger": "cron"}) as options:
        assert options == {"trigger": "cron"}


@pytest.mark.slow
@pytest.mark.parametrize("store", ["postgresql", "mariadb"])
def test_each_measurement_has_an_empty_database_on_the_same_server(store: str) -> None:
    seen = []
    for _ in range(2):
        with left_out_without_its_server(), provided({"store": store}) as options:
            database = Database(**options["database"])  # type: ignore[arg-type]
            engine = create_engine(database.url)
            assert inspect(engine).get_table_names() == []
            with engine.begin() as connection:
                connection.execute(text("CREATE TABLE something (id INTEGER)"))
            engine.dispose()
            seen.append(database)

    assert seen[0].server == seen[1].server is not None


@pytest.mark.parametrize(("journal", "answer"), [("DELETE", "delete"), ("WAL", "wal")])
def test_where_a_journal_mode_is_named_the_store_uses_it_and_writes_through_to_the_disk(
    journal: str, answer: str, tmp_path: Path
) -> None:
    store = Database(f"sqlite:///{tmp_path}/jobs.db", journal).store()
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == answer
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    store.engine.dispose()


def test_a_database_is_filled_with_jobs_that_come_when_asked_for(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/jobs.db")
    moments = later(20)
    fill(database, moments)

    assert stored(database) == sorted(zip(moments, range(20), strict=True))


def test_jobs_that_are_multiplied_are_like_those_that_are_added(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/jobs.db")
    scheduler = database.started(paused=True)
    hour = datetime.now(UTC) + timedelta(hours=1)
    specimen = scheduler.add_job(**hourly(0, hour)).__getstate__()
    scheduler.remove_all_jobs()
    scheduler.shutdown()
    multiply(database.store(), specimen, [hour, hour - timedelta(minutes=1)])

    assert stored(database) == [(hour - timedelta(minutes=1), 1), (hour, 0)]


def stored(database: Database) -> list[tuple[datetime, int]]:
    """Return when the jobs of a database come next, with their numbers."""
    scheduler = database.started(paused=True)
    jobs = [(job.next_run_time, job.args[0]) for job in scheduler.get_jobs()]
    scheduler.shutdown()
    return jobs


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Return a ledger on tables that have what it reads."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE apscheduler_jobs (id TEXT, next_run_time FLOAT)"))
        connection.execute(text("CREATE TABLE apscheduler_jobs_runs (job_id TEXT, state TEXT)"))
    engine.dispose()
    ledger = Ledger(Database(url))
    yield ledger
    ledger.engine.dispose()


def write(ledger: Ledger, statement: str) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(text(statement))


def write_runs(ledger: Ledger, *job_ids: str) -> None:
    for job_id in job_ids:
        write(ledger, f"INSERT INTO apscheduler_jobs_runs VALUES ('{job_id}', 'succeeded')")


@pytest.mark.parametrize(
    ("before", "end"),
    [
        (
            "INSERT INTO apscheduler_jobs VALUES ('a', 1000)",
            "UPDATE apscheduler_jobs SET next_run_time = 1001",
        ),
        (
            "INSERT INTO apscheduler_jobs_runs VALUES ('a', 'running')",
            "UPDATE apscheduler_jobs_runs SET state = 'succeeded'",
        ),
    ],
    ids=["a job that is due", "a run that is open"],
)
def test_the_clock_runs_while_there_is(before: str, end: str, ledger: Ledger) -> None:
    write(ledger, before)
    due = datetime.fromtimestamp(1000, UTC)
    waiting = threading.Thread(target=ledger.wait, args=(due,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()

    write(ledger, end)
    waiting.join(10)
    assert not waiting.is_alive()


@pytest.mark.parametrize("job_ids", ["a", "aa", "abb"])
def test_runs_that_are_lacking_or_too_many_make_a_figure_an_error(
    job_ids: str, ledger: Ledger
) -> None:
    write_runs(ledger, *job_ids)

    with pytest.raises(RuntimeError, match="are recorded of 2"):
        ledger.check(2)


def test_one_successful_run_of_each_job_is_as_it_should_be(ledger: Ledger) -> None:
    write_runs(ledger, *"ab")

    ledger.check(2)


A_SERVER = """
import subprocess, sys
burn = "import time\\nwhile time.process_time() < 0.1: pass\\nprint(flush=True)\\n"
child = subprocess.Popen([sys.executable, "-c", burn + sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
if not sys.argv[1]:
    child.wait()
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it is read as Linux tells it")
@pytest.mark.parametrize(
    "last", ["import sys; sys.stdin.read()", ""], ids=["that lives", "that has ended"]
)
def test_the_processor_time_of_a_server_includes_that_of_a_child(last: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", A_SERVER, last], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdout.readline()
        own = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        own_seconds = sum(map(int, own)) / os.sysconf("SC_CLK_TCK")

        # Linux tells it in steps of a hundredth of a second.
        assert seconds_of(server.pid) >= own_seconds + 0.08
        server.stdin.close()


@contextmanager
def left_out_without_its_server() -> Iterator[None]:
    """Skip a test for which the server is not installed, but never in CI."""
    try:
        yield
    except MissingDatabaseError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"NOT tested: {error}")


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.title}, {row.size.full}")
def test_every_scenario_runs_and_gives_a_figure(row: Row, our_library: Library) -> None:
    with left_out_without_its_server():
        figure = our_library.measure(row.scenario, row.size.tiny, row.options)

    assert figure.value > 0
    assert figure.cpu is None or figure.cpu > 0
