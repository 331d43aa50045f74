"""A web application with a scheduler, for gunicorn. Where it is started is said by ``START``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(process)d %(message)s")
logging.getLogger("apscheduler.executors").setLevel(logging.WARNING)

scheduler = BackgroundScheduler(timezone="UTC")


def tick() -> None:
    # In one write: several processes have this output.
    os.write(1, f"tick in {os.getpid()}\n".encode())


scheduler.add_job(tick, "interval", seconds=0.1, id="tick", misfire_grace_time=None)
if os.environ["START"] == "import":
    scheduler.start()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {scheduler.running}".encode()]
