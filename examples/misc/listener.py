"""A listener that hears how each run of a job ended."""

from queue import SimpleQueue

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler


def divide(a: int, b: int) -> float:
    return a / b


if __name__ == "__main__":
    endings: SimpleQueue[JobExecutionEvent] = SimpleQueue()

    scheduler = BackgroundScheduler()
    scheduler.add_listener(endings.put, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    scheduler.add_job(divide, args=[6, 3], id="possible")
    scheduler.add_job(divide, args=[6, 0], id="impossible")
    scheduler.start()

    for event in sorted((endings.get(), endings.get()), key=lambda event: event.job_id):
        if event.exception is None:
            print(f"{event.job_id}: returned {event.retval}")
        else:
            print(f"{event.job_id}: raised {event.exception!r}")
    scheduler.shutdown()
