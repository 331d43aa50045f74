"""Schedulers: the face of the library, one for each way of waiting."""


class SchedulerAlreadyRunningError(Exception):
    """Raised when a scheduler that is running is started or configured."""

    def __str__(self) -> str:
        return "Scheduler is already running"


class SchedulerNotRunningError(Exception):
    """Raised when a scheduler that is not running is asked for what only a running one can do."""

    def __str__(self) -> str:
        return "Scheduler is not running"
