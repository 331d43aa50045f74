"""A small schedule with the three kinds of triggers, which tells what it does.

python examples/demo.py [SECONDS]
"""

import signal
import sys
import time
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue


def main(seconds: float) -> None:
    # A signal handler may run between any two steps of this thread, also inside a lock that it
    # would need itself. To put something into a SimpleQueue is safe even there.
    stop: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stop.put(number))

    from apscheduler import current_run
    from apscheduler.schedulers.background import BackgroundScheduler

    scheduler = BackgroundScheduler()

    def tell() -> None:
        run = current_run()
        coming = ((job.next_run_time, job.id) for job in scheduler.get_jobs())
        next_time, next_id = min((moment, id) for moment, id in coming if moment is not None)
        print(
            f"{run.job_id:<10}due {run.scheduled_at:%H:%M:%S}.{run.scheduled_at:%f}"
            f"{run.lateness.total_seconds() * 1000:10.1f} ms late"
            f"      next: {next_id} at {next_time:%H:%M:%S}",
            flush=True,
        )

    now = datetime.now()
    scheduler.add_job(tell, "interval", seconds=4, id="interval")
    scheduler.add_job(tell, "cron", second="*/10", id="cron")
    scheduler.add_job(tell, "date", run_date=now + timedelta(seconds=2), id="date")

    print(f"The three kinds of triggers at work, for {seconds:g} seconds. Ctrl-C ends it.\n")
    print("  interval  every four seconds")
    print("  cron      when the clock shows a full ten seconds")
    print("  date      once, two seconds from now\n", flush=True)
    began = time.monotonic()
    scheduler.start()
    try:
        stop.get(timeout=seconds)
        print("\nInterrupted", end="")
    except Empty:
        print("\nDone", end="")
    scheduler.shutdown()
    print(f" after {time.monotonic() - began:.1f} seconds.")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 30)
