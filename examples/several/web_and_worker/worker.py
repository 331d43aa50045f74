"""The process that runs the jobs; start it as often as you like, on as many machines.

python worker.py                        (needs apscheduler[sqlalchemy])
"""

import signal
import sys

from tasks import DATABASE

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.blocking import BlockingScheduler

if __name__ == "__main__":
    scheduler = BlockingScheduler(
        jobstores={"default": SQLAlchemyJobStore(DATABASE)}, timezone="UTC"
    )
    # What service managers end a process with is to end it in good order, like Ctrl+C.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    print("Press Ctrl+C to exit", flush=True)
    try:
        scheduler.start()
    except (KeyboardInterrupt, SystemExit):
        scheduler.shutdown()
