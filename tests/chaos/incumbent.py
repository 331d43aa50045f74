"""3.11.3 as somebody who only adds, edits and removes jobs: ``python -m chaos.incumbent OPTIONS``.

It runs in an environment where `apscheduler` is 3.11.3. Its scheduler is paused all the time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import warnings

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from chaos.edits import INCUMBENTS, STEADY, Editor


def main(url: str, seed: str) -> None:
    warnings.simplefilter("ignore")
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ending.set())
    options = {"pool_pre_ping": True}
    if url.startswith("sqlite"):
        options["connect_args"] = {"timeout": 30}
    scheduler = BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(url, engine_options=options)}, timezone="UTC"
    )
    scheduler.start(paused=True)
    editor = Editor(
        scheduler,
        seed,
        whole=True,
        schedules={job_id: step for job_id, step, _ in INCUMBENTS if "moved" in job_id},
        names=[job_id for job_id, _, _ in STEADY + INCUMBENTS if "moved" not in job_id],
    )
    editor.add_first(INCUMBENTS)
    print("ready", flush=True)
    while not ending.wait(editor.pause_between()):
        editor.step()
    # At its shutdown even a paused scheduler of 3.11.3 looks for jobs to run.
    os._exit(0)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
