"""What the jobs of a trial do."""

from __future__ import annotations

import time

from chaos.journal import journal, micros


class DeliberateError(Exception):
    """Raised by jobs that are to fail."""


def work(tag: str, seconds: float = 0.0, fails: bool = False) -> None:
    """Write down that it begins and that it ends.

    :param tag: tells one edit of the job's arguments from others
    :param seconds: for how long it takes
    """
    # 3.11.3, which also imports this module, never calls it.
    from apscheduler import current_run

    run = current_run()
    journal().write(
        "call",
        run=run.run_id,
        job=run.job_id,
        attempt=run.attempt,
        slot=micros(run.scheduled_at),
        tag=tag,
    )
    if seconds:
        time.sleep(seconds)
    journal().write("return", run=run.run_id)
    if fails:
        raise DeliberateError
