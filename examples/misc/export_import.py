"""Jobs written to a file by one scheduler and read back by another."""

from pathlib import Path
from tempfile import TemporaryDirectory

from apscheduler.schedulers.background import BackgroundScheduler


def report(name: str) -> None:
    print(f"the report {name}")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        file = Path(folder, "jobs.json")

        old = BackgroundScheduler(timezone="UTC")
        old.start(paused=True)
        old.add_job(report, "cron", hour=6, id="daily", args=["of the day"])
        old.add_job(report, "interval", weeks=2, id="fortnightly", args=["of two weeks"])
        old.export_jobs(file)
        old.shutdown()

        new = BackgroundScheduler(timezone="UTC")
        new.start(paused=True)
        new.import_jobs(file)
        for job in sorted(new.get_jobs(), key=lambda job: job.id):
            print(f"{job.id}: {job.trigger}")
        new.shutdown()
