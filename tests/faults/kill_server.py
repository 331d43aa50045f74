"""A program that carries out writes in forks of itself, and kills those in the middle of them.

Each line that it reads is a JSON object: `url`, `operation`, and either `record`, a file for what
is done by that if nobody is killed, or `kill_at` and `after`: at which statement a fork is killed,
before or after that is carried out. It answers each with an exit status.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from typing import Any

from kill_scene import DOOMED, OPERATIONS, STARTS, Place, Rows, node, open_store, start
from wire import COMMIT, Wire

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore

#: How many seconds a fork may take.
PATIENCE = 30


def record(store: SQLAlchemyJobStore, task: dict[str, Any]) -> None:
    """Do what is asked for in this process, and write down what that was."""
    statements: list[str] = []
    commits: list[Rows] = []
    place = Place(task["url"])

    def write_down(number: int, done: bool, statement: str) -> None:
        if not done:
            statements.append(statement)
        elif statement == COMMIT:
            commits.append(place.rows())

    first = place.rows()
    wire = Wire(store.engine, write_down)
    do(store, task)
    wire.cut()
    place.close()
    with open(task["record"], "wb") as file:
        pickle.dump((statements, [first, *commits]), file)


def die(store: SQLAlchemyJobStore, task: dict[str, Any]) -> None:
    """Do what is asked for in a fork, and be killed in the middle of it."""
    moment = task["kill_at"], task["after"]

    def kill(number: int, done: bool, statement: str) -> None:
        if (number, done) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    Wire(store.engine, kill)
    do(store, task)


def do(store: SQLAlchemyJobStore, task: dict[str, Any]) -> None:
    OPERATIONS.get(task["operation"], start)(store)


def prepare(store: SQLAlchemyJobStore, task: dict[str, Any]) -> None:
    if task["operation"] in OPERATIONS:
        start(store)
        store.beat(node(DOOMED))


def main() -> None:
    # One that has been used knows its statements, and what is forked off from it is fast.
    url, store = None, None
    for line in sys.stdin:
        task = json.loads(line)
        if store is None or task["url"] != url or task["operation"] in STARTS:
            url, store = task["url"], open_store(task["url"])
        if "record" in task:
            status = 1
            try:
                prepare(store, task)
                record(store, task)
                status = 0
            except Exception:
                sys.excepthook(*sys.exc_info())
            store.engine.dispose()
            print(status, flush=True)
            continue
        pid = os.fork()
        if not pid:
            signal.alarm(PATIENCE)
            try:
                store.after_fork()
                prepare(store, task)
                die(store, task)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
