"""Taking the turns of job stores step by step, here or while somebody else waits for the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from datetime import datetime
from functools import partial
from threading import Condition, get_ident
from typing import TYPE_CHECKING, Any, cast

from apscheduler.clock import UTC

if TYPE_CHECKING:
    from apscheduler._house import Waiter

#: The steps of a turn. Each asks for a call of a job store, which may take its time, and is given
#: the answer. They end with when to come again.
Steps = Generator[Callable[[], Any], Any, datetime | None]


class Walk:
    """Which turns are being taken, and when to come again for each job store.

    :param now: tells the time
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._plans: dict[str, datetime | None] = {}
        # The stores whose turns others wait for, with whether another one was asked for since.
        self._aside: dict[str, bool] = {}
        # The stores whose turns are taken by threads, and by which.
        self._here: list[tuple[str, int]] = []
        self._ended = Condition()
        self._awaited = 0

    @property
    def is_aside(self) -> bool:
        """Whether a turn is going on that somebody else waits for."""
        return bool(self._aside)

    def clear(self) -> None:
        """Forget when to come again."""
        self._plans.clear()

    def earliest(self, aliases: Collection[str]) -> datetime | None:
        """Return when to come again, as far as it is known."""
        return earliest([at for alias, at in self._plans.items() if alias in aliases])

    def is_going_on_aside(self, alias: str) -> bool:
        """Tell whether a turn of a store is going on already; another one follows it then."""
        if alias not in self._aside:
            return False
        # That one may have come too early for what this one is for.
        self._aside[alias] = True
        return True

    def take_plan(self, alias: str) -> datetime | None:
        """Return when to come again for a store, and forget it."""
        return self._plans.pop(alias, None)

    def take(self, alias: str, steps: Steps) -> None:
        """Take a turn in this thread."""
        turn = alias, get_ident()
        self._plans[alias] = None
        self._here.append(turn)
        go_on: Callable[[Any], Callable[[], Any]] = steps.send
        given: Any = None
        try:
            while True:
                call = go_on(given)
                try:
                    go_on, given = steps.send, call()
                except BaseException as error:
                    go_on, given = steps.throw, error
        except StopIteration as end:
            self._plans[alias] = cast("datetime | None", end.value)
        finally:
            self._here.remove(turn)
            self._tell()

    def take_aside(
        self,
        alias: str,
        steps: Steps,
        waiter: Waiter,
        landed: Callable[[bool], None],
    ) -> None:
        """Take a turn of which the host does every step while ``waiter`` waits for the store.

        :param landed: called when it has ended, with whether it failed
        """
        self._aside[alias] = False
        self._go_on(alias, steps, waiter, landed, partial(steps.send, None))

    def _go_on(
        self,
        alias: str,
        steps: Steps,
        waiter: Waiter,
        landed: Callable[[bool], None],
        step: Callable[[], Callable[[], Any]],
    ) -> None:
        def then(answer: Any, error: BaseException | None) -> None:
            following = partial(steps.throw, error) if error else partial(steps.send, answer)
            self._go_on(alias, steps, waiter, landed, following)

        try:
            waiter(step(), then)
        except StopIteration as end:
            self._land(alias, end.value)
            landed(False)
        except BaseException:
            self._land(alias, None)
            landed(True)
            raise

    def _land(self, alias: str, plan: datetime | None) -> None:
        again = self._aside.pop(alias, False)
        self._plans[alias] = self._now() if again else plan
        self._tell()

    def _tell(self) -> None:
        # No lock where nobody waits: this is the end of each turn.
        if self._awaited:
            with self._ended:
                self._ended.notify_all()

    def wait_for(self, alias: str, timeout: float | None) -> bool:
        """Wait for the turn of a store to end; return whether it did.

        :param timeout: for how many seconds at most, None for any time. A turn that perhaps only
            this thread can go on with is not waited for then
        """
        with self._ended:
            if timeout is not None and (
                alias in self._aside or (alias, get_ident()) in self._here
            ):
                timeout = 0.0
            self._awaited += 1
            try:
                return self._ended.wait_for(lambda: not self._is_going_on(alias), timeout)
            finally:
                self._awaited -= 1

    def _is_going_on(self, alias: str) -> bool:
        return alias in self._aside or any(alias == other for other, _ in self._here)


def earliest(moments: Collection[datetime | None]) -> datetime | None:
    """Return the earliest of some moments, None if there is none."""
    found: datetime | None = None
    for moment in moments:
        if moment is not None:
            # In UTC, because two times of one zone are compared by their wall clocks.
            try:
                moment = moment.astimezone(UTC)
            except OverflowError:  # By some hours before the first year, or after the last.
                moment = moment.replace(tzinfo=UTC)
            if found is None or moment < found:
                found = moment
    return found
