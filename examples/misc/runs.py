"""What became of a job's runs, asked of the scheduler afterwards."""

from datetime import UTC, datetime

from apscheduler import current_run
from apscheduler.testing import ManualScheduler, VirtualClock


def collect() -> None:
    run = current_run()
    run.logger.info("collecting, %s late", run.lateness)
    if run.scheduled_at.hour == 2:
        raise ConnectionError("nobody answered")


if __name__ == "__main__":
    # With a real scheduler the answers are the same; this one need not be waited for.
    clock = VirtualClock(datetime(2026, 3, 1, tzinfo=UTC))
    scheduler = ManualScheduler(clock=clock, timezone="UTC")
    scheduler.add_job(collect, "interval", hours=1, id="collect")
    scheduler.start()
    scheduler.advance(hours=3)

    scheduler.run_now("collect")  # once more, beside the schedule

    for run in scheduler.get_runs("collect"):
        error = run.error.splitlines()[-1] if run.error else "no error"
        print(f"{run.scheduled_at:%H:%M} {run.kind}: {run.state}, {error}")
    print(scheduler.explain("collect", at=datetime(2026, 3, 1, 2, tzinfo=UTC)))
    scheduler.shutdown()
