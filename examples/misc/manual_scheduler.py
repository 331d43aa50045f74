"""A month of a schedule in a moment: how to test a program's own schedule.

Nothing here waits. The clock stands still until it is told to advance, and the jobs run one
after the other in this thread.
"""

from datetime import UTC, datetime

from apscheduler import current_run
from apscheduler.testing import ManualScheduler, VirtualClock

days: list[str] = []


def water_the_plants() -> None:
    days.append(f"{current_run().scheduled_at:%a %d %b}")


if __name__ == "__main__":
    clock = VirtualClock(datetime(2026, 3, 1, tzinfo=UTC))
    scheduler = ManualScheduler(clock=clock, timezone="UTC")
    scheduler.add_job(water_the_plants, "cron", day_of_week="mon,thu", hour=7)
    scheduler.start()

    scheduler.advance(days=7)
    print(f"in the first week: {', '.join(days)}")
    scheduler.advance_to(datetime(2026, 4, 1, tzinfo=UTC))
    print(f"in all of March: {len(days)} times")
    scheduler.shutdown()
