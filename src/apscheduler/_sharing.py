"""One scheduler as a node among those that share a job store: it says that it is alive."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Final, Protocol

from apscheduler.clock import SYSTEM_CLOCK, ShiftedClock, since_boot
from apscheduler.nodes import Beat, Node
from apscheduler.runs import replace

if TYPE_CHECKING:
    from apscheduler._house import House, Voice
    from apscheduler.jobstores.base import SharedJobStore

#: By how much the clock of this machine may differ from that of a store, in seconds, before it is
#: corrected: so much passes while a question is on its way, or is left over by NTP.
TOLERANCE: Final = 0.1
#: By how much it has to differ to be worth a word.
WORTH_A_WORD: Final = 1.0
#: How often the time is asked for if the answers take long.
ASK_AT_MOST: Final = 3
#: For how many seconds it still holds that nobody else is there.
STILL_ALONE: Final = 0.5
#: Seconds until a beat that failed is tried again.
RETRY: Final = 1.0
#: Seconds between two looks for Runs that need not be kept, and how many batches are deleted then.
PRUNE_EVERY, PRUNE_AT_MOST = 30.0, 20


class Heard(Protocol):
    """Who has to know what became of this node."""

    def may_set_clock(self, alias: str, is_in_company: bool) -> bool: ...
    def clock_was_corrected(self, by: timedelta) -> None: ...
    def lease_lost(self, alias: str) -> None: ...


class Membership:
    """This process as a node of one job store.

    :param node: what it is, by itself
    :param real: whether time passes by itself: with a clock that is set by a test it does not,
        and no thread waits for it
    """

    def __init__(
        self,
        house: House,
        voice: Voice,
        heard: Heard,
        alias: str,
        store: SharedJobStore,
        node: Node,
        real: bool,
    ) -> None:
        self._house = house
        self._voice = voice
        self._heard = heard
        self.alias = alias
        self.store = store
        self.node = node
        self.real = real
        self._ending = Event()
        # Set when something is to be said at once.
        self._nudged = Event()
        # Held while the store is told, so that nothing is told after goodbye.
        self._beating = Lock()
        self._thread: Thread | None = None
        self._failures = 0
        # By the clock since boot: until when nobody takes this node for dead, and since when it
        # has been heard without a break.
        self._safe_until = 0.0
        self._heard_since = 0.0
        self._alone_since: float | None = None
        self.lapsed = True
        # When nobody else was there, alive or dead, if it was so at the last beat.
        self._alone_at: float | None = None

    def join(self) -> None:
        """Become known to the others, and go on to be."""
        node = self.node
        self._beat()
        if self.node is not node:
            self._beat()
        if self.real and self._thread is None:
            thread = Thread(target=self._live, name=f"APScheduler-node-{self.alias}", daemon=True)
            thread.start()
            self._thread = thread

    def rejoin(self) -> None:
        """Become known again, after the others have taken this node for dead."""
        self._beat()
        self._failures = 0

    def offers(self, executors: tuple[str, ...], since: datetime | None = None) -> None:
        """Let the others know which executors they can count on now.

        :param since: since when, if it is not since this node joined
        """
        self.node = replace(self.node, executors=executors, since=since or self.node.since)
        self._alone_at = None  # What this begins may depend on who else is there by now.
        if not self.real:
            self._beats()
        elif since is not None:
            # By the thread of its own: whoever calls this must not wait for the store.
            self._nudged.set()
            self.store.unwatch()

    def clock_was_corrected(self, by: timedelta) -> None:
        """Let the others know by the right time since when this node has been there."""
        self.node = replace(self.node, since=self.node.since + by)

    def leave(self) -> None:
        """Say goodbye; what is still live lapses."""
        self.fall_silent()
        with self._beating:
            self.store.leave(self.node.id)

    def fall_silent(self) -> None:
        """Say nothing any more, so that the lease comes to its end."""
        self._ending.set()
        self._nudged.set()
        self.store.unwatch()

    @property
    def is_safe(self) -> bool:
        """Whether nobody can take this node for dead."""
        return not self.real or since_boot() < self._safe_until

    @property
    def is_alone(self) -> bool:
        """Whether nobody else was there just now."""
        return (
            self.real
            and self._alone_at is not None
            and since_boot() - self._alone_at < STILL_ALONE
        )

    @property
    def may_declare_dead(self) -> bool:
        """Whether a node that is not heard of must be dead.

        After an outage of the store itself, the others are given time to be heard again; and who
        has just joined does not know whether there was one.
        """
        if not self.real:
            return True
        return not self._failures and since_boot() - self._heard_since > self.store.lease / 2

    def dead_among(self, nodes: Sequence[Node]) -> list[str]:
        """Return the ids of those nodes on this machine whose processes are gone."""
        return [node.id for node in nodes if is_gone(node, self.node)]

    def _beat(self) -> Beat | None:
        """Say that this node is alive; None if it has left."""
        anew = False
        for _ in range(ASK_AT_MOST):
            asked_at = since_boot()
            began = self._house._clock.now()
            with self._beating:
                if self._ending.is_set():
                    return None
                beat = self.store.beat(self.node)
            took = timedelta(seconds=since_boot() - asked_at)
            if not self.is_safe or not self._safe_until:
                self._heard_since = since_boot()
            self._safe_until = asked_at + self.store.lease
            anew = anew or beat.anew
            # An answer that was long on its way says little of the time.
            if (took / 2).total_seconds() <= TOLERANCE:
                break
        self.lapsed = self.lapsed or beat.lapsed
        self._alone_at = None if beat.others or beat.lapsed else asked_at
        is_in_company = self._is_in_company(beat)
        if self._heard.may_set_clock(self.alias, is_in_company):
            self._set_clock(beat.time - (began + took / 2), took / 2, is_in_company)
        return replace(beat, anew=anew)

    def _is_in_company(self, beat: Beat) -> bool:
        """Tell whether others are alive, or may be heard of again after an outage."""
        if beat.others or beat.lapsed:
            self._alone_since = None
            return True
        if self._alone_since is None:
            self._alone_since = since_boot()
        is_corrected = isinstance(self._house._clock, ShiftedClock)
        return is_corrected and since_boot() - self._alone_since < self.store.lease

    def _set_clock(self, behind: timedelta, doubt: timedelta, others: bool) -> None:
        """Go by the time of the store while others do, and by that of this machine alone.

        :param behind: by how much this node's clock is behind that of the store
        :param doubt: by how much this may be wrong
        """
        clock = self._house._clock
        if clock is not SYSTEM_CLOCK and not isinstance(clock, ShiftedClock):
            return
        offset = clock.offset if isinstance(clock, ShiftedClock) else timedelta(0)
        wanted = offset + behind if others else timedelta(0)
        tolerance = TOLERANCE + doubt.total_seconds() if others else TOLERANCE
        if abs((wanted - offset).total_seconds()) < tolerance:
            return
        if abs(wanted.total_seconds()) < TOLERANCE:
            wanted = timedelta(0)
        self._house._clock = ShiftedClock(wanted) if wanted else SYSTEM_CLOCK
        if abs(wanted.total_seconds()) >= WORTH_A_WORD:
            self._voice.log(
                logging.WARNING,
                "The clock of this machine is %.1f s %s that of job store %r. While other "
                "schedulers share that store, this one goes by the time of the store",
                abs(wanted.total_seconds()),
                "behind" if wanted > timedelta(0) else "ahead of",
                self.alias,
            )
        self._heard.clock_was_corrected(wanted - offset)

    # -- the thread -----------------------------------------------------------------------------

    def _live(self) -> None:
        due = since_boot() + self.store.lease / 3
        prune_at = since_boot() + PRUNE_EVERY
        while not self._ending.is_set():
            self._wait(min(due, prune_at) - since_boot())
            if self._ending.is_set():
                return
            if since_boot() >= due or self._nudged.is_set():
                self._nudged.clear()
                due = since_boot() + (self.store.lease / 3 if self._beats() else self._retry())
            if since_boot() >= prune_at:
                prune_at = since_boot() + PRUNE_EVERY
                self._prune()

    def _retry(self) -> float:
        return min(RETRY, self.store.lease / 10)

    def _wait(self, seconds: float) -> None:
        if seconds <= 0:
            return
        if not self.store.can_watch or self._failures:
            self._nudged.wait(seconds)
            return
        try:
            if self.store.watch(seconds) and not self._nudged.is_set():
                self._voice.wake()
        except Exception as error:
            self._voice.log(logging.DEBUG, "Job store %r cannot be watched: %s", self.alias, error)
            self._nudged.wait(min(seconds, RETRY))

    def _beats(self) -> bool:
        try:
            beat = self._beat()
        except Exception as error:
            self._failures += 1
            if self._failures == 1:
                self._voice.log(
                    logging.WARNING,
                    "Job store %r could not be told that this node is alive: %s; that is tried "
                    "again every %.1f s",
                    self.alias,
                    error,
                    self._retry(),
                )
            return False
        if self._failures:
            self._failures = 0
            self._heard_since = since_boot()
        if beat is not None and beat.anew:
            self._heard.lease_lost(self.alias)
        if beat is not None and beat.lapsed:
            self._voice.wake()
        return True

    def _prune(self) -> None:
        try:
            for _ in range(PRUNE_AT_MOST):
                if not self.store.prune(self._house._clock.now()) or self._ending.is_set():
                    return
        except Exception as error:
            self._voice.log(
                logging.WARNING, "Old runs in job store %r were not deleted: %s", self.alias, error
            )


def this_process(node_id: str, now: datetime, executors: tuple[str, ...]) -> Node:
    """Return what this process is as a node."""
    pid = os.getpid()
    return Node(
        node_id,
        socket.gethostname(),
        _boot(),
        pid,
        _started(pid) or "",
        executors,
        now,
    )


def is_gone(node: Node, here: Node) -> bool:
    """Tell whether a node was a process of this machine that has ended."""
    if not here.boot or (node.host, node.boot) != (here.host, here.boot) or node.id == here.id:
        return False
    started = _started(node.pid)
    if started is None:
        # Of other users' processes, nothing may be readable.
        return not _exists(node.pid)
    return started != node.process_started


def _boot() -> str:
    """Return what tells this start of the machine from others, and this container's processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""  # Not on this system: then nothing is known of other processes.


def _started(pid: int) -> str | None:
    """Return when a process was started, in the count of the machine; "" if it has ended.

    None if it cannot be read, as when there is none.
    """
    try:
        # The name of the program stands in parentheses, and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # A process that has ended and not been waited for is gone as well.
    return "" if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # It is another user's.
    return True
