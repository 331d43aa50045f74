"""A web application whose every worker runs a scheduler; each fire time runs in one of them.

gunicorn --workers 4 app:app            (needs apscheduler[sqlalchemy], flask and gunicorn)
curl http://127.0.0.1:8000/             what has run, and where
curl -X POST http://127.0.0.1:8000/greetings/Anna
"""

import atexit
import os
from typing import Any

from flask import Flask

from apscheduler import current_run
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

DATABASE = os.environ.get("JOBS_DATABASE", "sqlite:///jobs.sqlite")

app = Flask(__name__)
scheduler = BackgroundScheduler(
    jobstores={"default": SQLAlchemyJobStore(DATABASE)}, timezone="UTC"
)


def say(line: str) -> None:
    # In one write: all workers have this output.
    os.write(1, f"{line}\n".encode())


def tick() -> None:
    say(f"Tick of {current_run().scheduled_at:%H:%M:%S} in process {os.getpid()}")


def greet(name: str) -> None:
    say(f"Hello, {name}, from process {os.getpid()}")


@app.get("/")
def overview() -> dict[str, Any]:
    return {
        "answered by": os.getpid(),
        "schedulers": [node.pid for node in scheduler.nodes()],
        "runs": [
            {"job": run.job_id, "at": f"{run.scheduled_at:%H:%M:%S}", "state": run.state}
            for run in scheduler.get_runs(limit=10)
        ],
    }


@app.post("/greetings/<name>")
def ask_for_greeting(name: str) -> dict[str, Any]:
    return {"answered by": os.getpid(), "job": scheduler.add_job(greet, args=[name]).id}


# Each worker does this. The job is there once, and keeps its phase when they are restarted.
scheduler.add_job(tick, "interval", seconds=1, id="tick", replace_existing=True)
scheduler.start()
# What still runs is waited for, and the others hear that this one is gone.
atexit.register(scheduler.shutdown)
