"""A schedule on Tornado's IO loop, which the program begins to run when all is set up."""

from datetime import datetime

from tornado.ioloop import IOLoop

from apscheduler.schedulers.tornado import TornadoScheduler


def tick() -> None:
    print(f"Tick! It is {datetime.now():%H:%M:%S}", flush=True)


if __name__ == "__main__":
    scheduler = TornadoScheduler()
    scheduler.add_job(tick, "interval", seconds=3)
    scheduler.start()
    print("Press Ctrl+C to exit", flush=True)
    try:
        IOLoop.current().start()
    except (KeyboardInterrupt, SystemExit):
        pass
