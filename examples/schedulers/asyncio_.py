"""A schedule on an asyncio event loop: coroutine functions run on it, others in threads."""

import asyncio
from datetime import datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler


def tick() -> None:
    print(f"Tick! It is {datetime.now():%H:%M:%S}", flush=True)


async def main() -> None:
    scheduler = AsyncIOScheduler()
    scheduler.add_job(tick, "interval", seconds=3)
    scheduler.start()
    print("Press Ctrl+C to exit", flush=True)
    await asyncio.Event().wait()  # the work of the event loop


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (KeyboardInterrupt, SystemExit):
        pass
