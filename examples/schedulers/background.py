"""A schedule beside a main thread that has other things to do."""

import time
from datetime import datetime

from apscheduler.schedulers.background import BackgroundScheduler


def tick() -> None:
    print(f"Tick! It is {datetime.now():%H:%M:%S}", flush=True)


if __name__ == "__main__":
    scheduler = BackgroundScheduler()
    scheduler.add_job(tick, "interval", seconds=3)
    scheduler.start()
    print("Press Ctrl+C to exit", flush=True)
    try:
        while True:
            time.sleep(2)  # the work of the main thread
    except (KeyboardInterrupt, SystemExit):
        scheduler.shutdown()
