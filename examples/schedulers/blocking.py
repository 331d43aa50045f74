"""A program that does nothing but run its schedule."""

from datetime import datetime

from apscheduler.schedulers.blocking import BlockingScheduler


def tick() -> None:
    print(f"Tick! It is {datetime.now():%H:%M:%S}", flush=True)


if __name__ == "__main__":
    scheduler = BlockingScheduler()
    scheduler.add_job(tick, "interval", seconds=3)
    print("Press Ctrl+C to exit", flush=True)
    try:
        scheduler.start()
    except (KeyboardInterrupt, SystemExit):
        pass
