"""What the loop needs of its scheduler, and how it makes itself heard."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from apscheduler._log import say

if TYPE_CHECKING:
    from apscheduler.clock import Clock
    from apscheduler.events import SchedulerEvent
    from apscheduler.executors.base import BaseExecutor
    from apscheduler.jobstores.base import ClaimingJobStore


class Waiter(Protocol):
    """Waits for a job store, so that the host need not."""

    def __call__(self, call: Callable[[], Any], then: Callable[[Any, Any], None]) -> None:
        """Make a call elsewhere, and then, on the host, hand on its answer or what it raised."""


class House(Protocol):
    """What the loop needs of the scheduler it belongs to."""

    _jobstores: dict[str, Any]
    _executors: dict[str, BaseExecutor]
    _clock: Clock
    _logger: logging.Logger
    jobstore_retry_interval: float

    def _seam(self, alias: str) -> ClaimingJobStore: ...
    def _dispatch_event(self, event: SchedulerEvent) -> None: ...
    def _hears(self, code: int) -> bool: ...
    def wakeup(self) -> None: ...

    def _call_listeners(self, tell: Callable[[], None]) -> None:
        """Call listeners where they are called for what happens elsewhere."""

    def _waiter(self, alias: str) -> Waiter | None:
        """Return who waits for a job store in place of the host, None if that waits itself."""

    def _come_again(self, seconds: float | None) -> None:
        """Take the next turn in so many seconds; None means that nothing is planned."""


class Voice:
    """Logs and tells in the name of a scheduler, so that nothing of it comes back as an error."""

    def __init__(self, house: House) -> None:
        self._house = house

    def tell(self, notice: Callable[..., None], *args: Any) -> None:
        """Tell somebody; that they cannot hear must not stop us."""
        try:
            notice(*args)
        except Exception as error:
            self.log(logging.ERROR, "Error telling of an event", exc_info=error)

    def wake(self) -> None:
        self.tell(self._house.wakeup)

    def log(
        self, level: int, message: str, *args: Any, exc_info: BaseException | None = None
    ) -> None:
        say(self._house._logger, level, message, *args, exc_info=exc_info, stacklevel=3)
