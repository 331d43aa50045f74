"""The same scheduler, configured in three ways: keywords, a flat dictionary, and later."""

from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler


def by_keywords() -> BackgroundScheduler:
    """Objects that are there already, handed over by name."""
    return BackgroundScheduler(
        jobstores={"default": MemoryJobStore()},
        executors={"default": ThreadPoolExecutor(20), "heavy": ProcessPoolExecutor(5)},
        job_defaults={"coalesce": False, "max_instances": 3},
        timezone="UTC",
    )


def by_dictionary() -> BackgroundScheduler:
    """Texts alone, as they come from a configuration file."""
    return BackgroundScheduler(
        {
            "apscheduler.jobstores.default": {"type": "memory"},
            "apscheduler.executors.default": {
                "class": "apscheduler.executors.pool:ThreadPoolExecutor",
                "max_workers": "20",
            },
            "apscheduler.executors.heavy": {"type": "processpool", "max_workers": "5"},
            "apscheduler.job_defaults.coalesce": "false",
            "apscheduler.job_defaults.max_instances": "3",
            "apscheduler.timezone": "UTC",
        }
    )


def later() -> BackgroundScheduler:
    """Made first, configured once the settings are known; objects and settings may be mixed."""
    scheduler = BackgroundScheduler()
    scheduler.configure(
        jobstores={"default": {"type": "memory"}},
        executors={
            "default": {"type": "threadpool", "max_workers": 20},
            "heavy": ProcessPoolExecutor(max_workers=5),
        },
        job_defaults={"coalesce": False, "max_instances": 3},
        timezone="UTC",
    )
    return scheduler


if __name__ == "__main__":
    for configure in (by_keywords, by_dictionary, later):
        scheduler = configure()
        scheduler.start(paused=True)
        job = scheduler.add_job(print, "cron", hour=3, executor="heavy")
        print(
            f"{configure.__name__}: zone {scheduler.timezone}, coalesce {job.coalesce}, "
            f"at most {job.max_instances} at once"
        )
        scheduler.shutdown()
