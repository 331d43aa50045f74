"""A trial: all processes are started, harmed and ended, and what they tell is put together."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from chaos.checker import holes
from chaos.edits import LONG_RECOVERED, values_of
from chaos.history import History
from chaos.journal import EPOCH, FOLDER, NAME, Journal, jobs_called, micros
from chaos.nemesis import TO_NODES, WRONG, Blow, blows
from chaos.node import Options, make_scheduler
from chaos.stores import make_store

ROOT = Path(__file__).resolve().parent.parent.parent
#: Seconds that a process may take to start, or to end.
PATIENCE = 60.0
#: Seconds until a process that could not start is started again.
AGAIN = 0.5
#: Seconds that a blow waits until there is something to lose.
LURKING = 5.0
#: How many nodes are never harmed at the same time. One alone would go by its own clock.
UNHARMED = 2
#: How many Runs are read at a time, and of how many slots an explanation is asked for.
PAGE, MOST_EXPLANATIONS = 2000, 200


@dataclass(frozen=True)
class Settings:
    """What is tried.

    :param seconds: for how long harm is done
    :param lease: that of the nodes, in seconds
    :param incumbent: the interpreter of 3.11.3
    """

    store: str
    seed: str
    seconds: float
    incumbent: Path
    nodes: int = 4
    lease: float = 2.0


class Process:
    """A program of a trial."""

    def __init__(self, folder: Path, name: str, module: str, argument: str, python: Path) -> None:
        self.name = name
        self.errors = folder / f"{name}.stderr"
        with self.errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [python, "-m", f"chaos.{module}", argument],
                cwd=ROOT,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT / "tests"),
                    FOLDER: str(folder),
                    NAME: name,
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def is_ready(self) -> bool:
        """Wait until it is; false if it ends instead."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        if not readable:
            raise TimeoutError(f"{self.name} does not start")
        return self._process.stdout.readline() == b"ready\n"

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int | None:
        """Return its exit code when it ends; None if it does not."""
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        if self.is_alive():
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Trial:
    """One trial, in a folder that is empty before and holds the journals afterwards."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._journal = Journal(folder, "trial")
        self._chance = random.Random(settings.seed)
        self._processes: list[Process] = []
        self._nodes: dict[str, Process] = {}
        # Nodes that nobody harms just now; and whether the store is out of reach.
        self._unharmed: list[str] = []
        self._choosing = threading.Lock()
        self._store_is_struck = threading.Lock()
        self._starts = 0

    def run(self) -> History:
        """Let it happen, and return what did."""
        self._store = make_store(self._settings.store, self._folder)
        try:
            self._happen()
            self._ask_store()
        finally:
            for process in self._processes:
                process.close()
            self._store.close()
        return History.read(self._folder)

    def _happen(self) -> None:
        names = [f"node{number}" for number in range(self._settings.nodes)]
        client = self._start_scheduler("client", role="client", first=True)
        for number, name in enumerate(names):
            self._start_node(name, 0.0 if number < UNHARMED else self._wrong())
        arguments = {"url": self._store.url, "seed": f"{self._settings.seed}-incumbent"}
        incumbent = self._start(
            "incumbent", "incumbent", json.dumps(arguments), self._settings.incumbent
        )
        self._harm()
        self._end(client)
        self._end(incumbent)
        # What died last must be found dead, and what that leaves be done.
        threading.Event().wait(2 * self._settings.lease)
        for node in self._nodes.values():
            if not node.is_alive():
                self._fault(f"{node.name} has ended by itself: {node.errors.read_text()[-2000:]}")
        self._journal.write("calm")
        for node in self._nodes.values():
            self._end(node)

    # -- processes ------------------------------------------------------------------------------

    def _start_node(self, name: str, wrong_by: float) -> None:
        self._nodes[name] = self._start_scheduler(name, wrong_by=wrong_by)
        with self._choosing:
            self._unharmed.append(name)

    def _start_scheduler(self, name: str, **options: Any) -> Process:
        with self._choosing:
            self._starts += 1
        told = Options(
            self._store.url,
            f"{self._settings.seed}-{self._starts}",
            self._settings.lease,
            **options,
        )
        return self._start(name, "node", told.as_argument(), Path(sys.executable))

    def _start(self, name: str, module: str, argument: str, python: Path) -> Process:
        deadline = time.monotonic() + PATIENCE
        while True:
            process = Process(self._folder, name, module, argument, python)
            self._processes.append(process)
            if process.is_ready():
                return process
            # If the store was out of reach it had no choice; else this is a fault.
            last_words = process.errors.read_text().strip().splitlines()[-1:]
            self._journal.write(
                "line", level=40, text=f"{name} does not start: {last_words}", traceback=None
            )
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} does not start: {last_words}")
            threading.Event().wait(AGAIN)

    def _end(self, process: Process) -> None:
        process.signal(signal.SIGTERM)
        if (status := process.wait()) != 0:
            self._fault(
                f"{process.name} was to end, and answered {status}: "
                f"{process.errors.read_text()[-2000:]}"
            )

    def _fault(self, text: str) -> None:
        self._journal.write("fault", text=text)

    def _wrong(self) -> float:
        return self._chance.uniform(-WRONG, WRONG)

    # -- harm -----------------------------------------------------------------------------------

    def _harm(self) -> None:
        began = time.monotonic()
        kinds = (*TO_NODES, *self._store.kinds)
        planned = blows(self._settings.seed, self._settings.seconds, kinds, self._settings.lease)
        pause = threading.Event()
        done: list[Future[None]] = []
        with ThreadPoolExecutor(8) as hands:
            for blow in planned:
                pause.wait(began + blow.after - time.monotonic())
                done.append(hands.submit(self._strike, blow))
            pause.wait(began + self._settings.seconds - time.monotonic())
        for blow_done in done:
            blow_done.result()

    def _strike(self, blow: Blow) -> None:
        if blow.kind not in TO_NODES:
            if self._store_is_struck.acquire(blocking=False):
                try:
                    self._record(blow.kind, None, lambda: self._store.strike(blow))
                finally:
                    self._store_is_struck.release()
            return
        with self._choosing:
            if len(self._unharmed) <= UNHARMED:
                return
            name = self._unharmed.pop(int(blow.choice * len(self._unharmed)))
        node = self._nodes[name]
        if blow.kind != "leave":
            self._lurk(node)
        if blow.kind == "freeze":
            self._record("freeze", node.pid, lambda: self._freeze(node, blow.seconds))
            with self._choosing:
                self._unharmed.append(name)
            return
        if blow.kind == "kill":
            self._record("kill", node.pid, lambda: (node.signal(signal.SIGKILL), node.wait()))
        else:
            self._record("leave", node.pid, lambda: self._end(node))
        threading.Event().wait(blow.seconds)
        self._start_node(name, blow.wrong_by)

    def _lurk(self, node: Process) -> None:
        """Wait until a node has something to lose that must be recovered, but not for ever."""
        deadline = time.monotonic() + LURKING
        while time.monotonic() < deadline:
            if LONG_RECOVERED in jobs_called(self._folder, node.name, node.pid):
                return
            threading.Event().wait(0.1)

    def _freeze(self, node: Process, seconds: float) -> None:
        node.signal(signal.SIGSTOP)
        threading.Event().wait(seconds)
        node.signal(signal.SIGCONT)

    def _record(self, kind: str, pid: int | None, strike: Callable[[], object]) -> None:
        began = time.time()
        strike()
        self._journal.write("strike", kind=kind, struck=pid, began=began, ended=time.time())

    # -- the store at the end -------------------------------------------------------------------

    def _ask_store(self) -> None:
        scheduler = make_scheduler(self._store.url, self._settings.lease)
        scheduler.start(role="client")
        asked = time.time()
        jobs = {job.id: job for job in scheduler.get_jobs()}
        known = History.read(self._folder).jobs
        for job_id in known:
            values = values_of(jobs.get(job_id))
            self._journal.write("final", job=job_id, asked=asked, values=values)
        runs = page = scheduler.get_runs(limit=PAGE)
        while page:
            page = scheduler.get_runs(limit=PAGE, after=page[-1])
            runs += page
        for run in runs:
            self._journal.write(
                "record",
                id=run.id,
                job=run.job_id,
                incarnation=run.incarnation,
                kind=run.kind,
                state=run.state,
                first=micros(run.first_scheduled_at),
                slot=micros(run.scheduled_at),
                count=run.count,
                attempt=run.attempt,
                opened=run.opened_at.timestamp(),
                ended=run.ended_at and run.ended_at.timestamp(),
                node=run.node,
                reason=run.reason,
            )
        found = holes(History.read(self._folder))
        for job_id, slot in self._chance.sample(found, min(len(found), MOST_EXPLANATIONS)):
            text = scheduler.explain(job_id, EPOCH + timedelta(microseconds=slot))
            self._journal.write("explanation", job=job_id, slot=slot, text=text)
        scheduler.shutdown()
