"""A web application that only adds and lists jobs; `worker.py` runs them.

gunicorn --workers 2 web:app            (needs apscheduler[sqlalchemy], flask and gunicorn)
curl -X POST http://127.0.0.1:8000/letters/Anna
curl http://127.0.0.1:8000/letters
"""

import os
from typing import Any

from flask import Flask
from tasks import DATABASE, send_letter

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

app = Flask(__name__)
scheduler = BackgroundScheduler(
    jobstores={"default": SQLAlchemyJobStore(DATABASE)}, timezone="UTC"
)
scheduler.start(role="client")


@app.post("/letters/<to>")
def send(to: str) -> dict[str, Any]:
    # Late is better than never: there may be no worker just now.
    job = scheduler.add_job(send_letter, args=[to], misfire_grace_time=None)
    return {"answered by": os.getpid(), "job": job.id}


@app.get("/letters")
def sent() -> list[dict[str, Any]]:
    return [{"job": run.job_id, "state": run.state} for run in scheduler.get_runs()]
