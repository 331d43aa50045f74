"""Since when slots could have been started, which is what lateness is reckoned from."""

from __future__ import annotations

from datetime import datetime, timedelta

from apscheduler.runs import Presence

_STORE_FAILED = "its job store failed"
_STORE_CAME = "its job store did not belong to a running scheduler"
_CUT_OFF = "its scheduler was cut off from its job store"


class Presences:
    """Since when this scheduler, its executors and its job stores have been there."""

    def __init__(self) -> None:
        self._ours: Presence | None = None
        # Of executors that came later, of stores that this scheduler was without for a while,
        # and of stores that nobody had.
        self._executors: dict[str, Presence] = {}
        self._absences: dict[str, Presence] = {}
        self._stores: dict[str, Presence] = {}

    @property
    def has_begun(self) -> bool:
        return self._ours is not None

    def begin(self, now: datetime, cause: str) -> None:
        """All are there; ``cause`` says why they were not before."""
        self._ours = Presence(now, cause)
        self._executors.clear()
        self._absences.clear()
        self._stores.clear()

    def executor_came(self, alias: str, now: datetime) -> None:
        self._executors[alias] = Presence(now, f'there was no executor "{alias}"')

    def store_came(self, alias: str, now: datetime) -> None:
        self._absences[alias] = Presence(now, _STORE_CAME)

    def was_cut_off(self, alias: str, now: datetime) -> None:
        """This scheduler was cut off from a job store that others had."""
        self._absences[alias] = Presence(now, _CUT_OFF)

    def store_failed(self, alias: str, now: datetime) -> None:
        """A job store failed until now, for whoever shares it."""
        self._stores[alias] = Presence(now, _STORE_FAILED)

    def clock_was_corrected(self, by: timedelta) -> None:
        """What was noted by the wrong time is noted by the right one."""
        if self._ours is not None:
            self._ours = _moved(self._ours, by)
        for presences in (self._executors, self._absences, self._stores):
            for alias, presence in list(presences.items()):
                presences[alias] = _moved(presence, by)

    def of(self, store: str, executor: str, others_since: datetime | None) -> Presence:
        """Return since when a job could have been started, and why not before.

        :param others_since: since when others have been there who could have started it
        """
        assert self._ours is not None
        presence = self._ours
        if others_since is None and not (self._executors or self._absences or self._stores):
            return presence
        for other in (self._executors.get(executor), self._absences.get(store)):
            if other is not None and other.since > presence.since:
                presence = other
        if others_since is not None and others_since < presence.since:
            presence = Presence(others_since, presence.cause)
        failed = self._stores.get(store)
        return failed if failed is not None and failed.since > presence.since else presence


def _moved(presence: Presence, by: timedelta) -> Presence:
    return Presence(presence.since + by, presence.cause)
