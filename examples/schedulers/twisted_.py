"""A schedule on Twisted's reactor, which waits at its end for what is running."""

from datetime import datetime
from typing import Any

from twisted.internet import reactor as global_reactor

from apscheduler.schedulers.twisted import TwistedScheduler

reactor: Any = global_reactor


def tick() -> None:
    print(f"Tick! It is {datetime.now():%H:%M:%S}", flush=True)


if __name__ == "__main__":
    scheduler = TwistedScheduler()
    scheduler.add_job(tick, "interval", seconds=3)
    scheduler.start()
    reactor.addSystemEventTrigger("before", "shutdown", scheduler.aclose)
    print("Press Ctrl+C to exit", flush=True)
    reactor.run()
