"""A schedule in greenlets; works as well where gevent has patched the standard library."""

import signal
from datetime import datetime

from gevent import signal_handler

from apscheduler.schedulers.gevent import GeventScheduler


def tick() -> None:
    print(f"Tick! It is {datetime.now():%H:%M:%S}", flush=True)


if __name__ == "__main__":
    scheduler = GeventScheduler()
    scheduler.add_job(tick, "interval", seconds=3)
    greenlet = scheduler.start()
    signal_handler(signal.SIGINT, scheduler.shutdown)
    print("Press Ctrl+C to exit", flush=True)
    greenlet.join()
