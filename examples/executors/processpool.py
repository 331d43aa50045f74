"""Jobs that run in processes of their own: for work that keeps a processor busy."""

import os
from datetime import datetime

from apscheduler.events import EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.schedulers.blocking import BlockingScheduler


def tick() -> int:
    print(f"Tick! It is {datetime.now():%H:%M:%S} in process {os.getpid()}", flush=True)
    return os.getpid()


def tell(event: JobExecutionEvent) -> None:
    print(f"Process {os.getpid()} hears that process {event.retval} is done", flush=True)


if __name__ == "__main__":  # a worker process imports this file, and must not start it again
    scheduler = BlockingScheduler()
    scheduler.add_executor("processpool")
    scheduler.add_listener(tell, EVENT_JOB_EXECUTED)
    scheduler.add_job(tick, "interval", seconds=3)
    print("Press Ctrl+C to exit", flush=True)
    try:
        scheduler.start()
    except (KeyboardInterrupt, SystemExit):
        pass
