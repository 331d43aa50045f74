"""A scheduler among those that share its job stores: who lives, who died, who has room."""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from os import urandom
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet

from apscheduler import _engine
from apscheduler._notices import Notices
from apscheduler.clock import SystemClock
from apscheduler.jobstores.base import ClaimingJobStore, SharedJobStore
from apscheduler.runs import JobQuery, moved

if TYPE_CHECKING:
    from apscheduler._house import House, Voice
    from apscheduler._runner import Runner
    from apscheduler._sharing import Membership
    from apscheduler.events import SchedulerEvent
    from apscheduler.nodes import Node

#: Seconds by which a job may be late before it is asked whether any node has its executor.
LATE: Final = 1.0
#: How long a turn is waited for at a shutdown, in seconds.
LEAVE_WITHIN: Final = 5.0
#: How many late jobs are looked at.
LATE_AT_MOST: Final = 100


def room_in_all(rooms: Mapping[str, int | None]) -> int:
    """Return how many Runs executors can take together."""
    return sum(sys.maxsize if room is None else room for room in rooms.values())


def with_room(rooms: Mapping[str, int | None]) -> list[str]:
    """Return the executors that can take a Run."""
    return [alias for alias, room in rooms.items() if room != 0]


class Turns(Protocol):
    """What others do to a job store that changes the turns to come."""

    node: str
    runner: Runner
    stopping: bool

    def wait_for_turn(self, alias: str, timeout: float | None) -> bool: ...
    def clock_was_corrected(self, by: timedelta) -> None: ...
    def was_cut_off(self, alias: str) -> None: ...
    def _new_id(self) -> str: ...


class Company:
    """What one scheduler knows of the others; nothing, if it shares no job store.

    :param house: the scheduler
    :param turns: its loop
    """

    def __init__(self, house: House, voice: Voice, turns: Turns) -> None:
        self._house = house
        self._voice = voice
        self._notices = Notices(house)
        self._turns = turns
        self._members: dict[str, Membership] = {}
        # Members that have to join anew; when each looks for dead nodes next; late jobs that no
        # node has an executor for, as far as they have been told of.
        self._lapsed: set[str] = set()
        self._look_at: dict[str, datetime] = {}
        self._homeless: set[str] = set()
        # Executors that had no room for what was due.
        self._full: set[str] = set()
        # The store by whose time the clock goes.
        self._clock_of: str | None = None
        self._leavers: list[Thread] = []
        # Since when others have been there, by job store and executor.
        self._since: dict[tuple[str, str], datetime] = {}
        self.is_client = False
        self.is_paused = False

    # -- membership -----------------------------------------------------------------------------

    def join(self, alias: str) -> None:
        """Join those who share a job store, if it is shared."""
        store = self._house._seam(alias)
        if self.is_client:
            if not isinstance(store, SharedJobStore):
                raise ValueError(
                    f'job store "{alias}" ({store!r}) cannot be shared, so nobody would run the '
                    f"jobs that a client adds to it. Give the client a job store that schedulers "
                    f"share, such as SQLAlchemyJobStore"
                )
            return
        if not isinstance(store, SharedJobStore):
            return
        from apscheduler._sharing import Membership, this_process

        # Another one at each time: what is left of the one before must not be taken for its own.
        here = this_process(urandom(4).hex(), self._house._clock.now(), self._offered())
        real = isinstance(self._house._clock, SystemClock)
        member = Membership(self._house, self._voice, self, alias, store, here, real)
        member.join()
        _companies.add(self)
        self._look_at.pop(alias, None)
        self._lapsed.discard(alias)
        self._members[alias] = member

    def leave(self, alias: str) -> None:
        """Leave those who share a job store, as soon as nothing of it runs here any more."""
        member = self._members.get(alias)
        if member is None:
            return
        runner = self._turns.runner
        turned = self._turns.wait_for_turn(alias, LEAVE_WITHIN)
        del self._members[alias]
        try:
            runner.write_left_over(alias, tell=True)
        except BaseException:
            # What ran here is not on record, and nobody is to wait for it.
            member.fall_silent()
            raise
        if turned and not any(run.node == member.node.id for run in runner.running()):
            member.leave()
        else:
            leaver = Thread(target=self._leave_later, args=(member,), daemon=True)
            self._leavers.append(leaver)
            leaver.start()

    def _leave_later(self, member: Membership) -> None:
        runner = self._turns.runner
        self._turns.wait_for_turn(member.alias, None)
        runner.wait_until_idle(None, node=member.node.id)
        try:
            runner.write_left_over(member.alias, tell=True)
            member.leave()
            if member.alias not in self._members:  # It may have been started anew.
                member.store.shutdown()
        except Exception as error:
            member.fall_silent()
            self._voice.log(
                logging.WARNING, "Error leaving job store %r", member.alias, exc_info=error
            )

    def leave_at_exit(self) -> None:
        """The program ends, and nobody has shut the scheduler down, or it waits for jobs."""
        self._turns.stopping = True
        for alias in list(self._members):
            try:
                self.leave(alias)
            except Exception as error:
                self._voice.log(logging.DEBUG, "Error leaving job store %r: %s", alias, error)
        for leaver in self._leavers:
            leaver.join(LEAVE_WITHIN)

    def abandon(self) -> None:
        """This is a fork: the members are the parent's."""
        self._members.clear()
        self._leavers.clear()

    def node_of(self, alias: str) -> str:
        """Return the id of this node among those who share a job store."""
        member = self._members.get(alias)
        return self._turns.node if member is None else member.node.id

    def shares(self, alias: str) -> bool:
        """Tell whether a job store is shared."""
        return alias in self._members

    def waits_for(self, alias: str) -> bool:
        """Tell whether a job store may keep those waiting who ask it."""
        member = self._members.get(alias)
        return self.is_client or (member is not None and member.real)

    def is_safe(self, alias: str) -> bool:
        """Tell whether nobody can take this node for dead."""
        member = self._members.get(alias)
        return member is None or member.is_safe

    def runs_here(self, alias: str, executor: str) -> bool:
        """Tell whether this node can run a job of a store itself."""
        return not self.is_client and (
            alias not in self._members or executor in self._house._executors
        )

    def may_set_clock(self, alias: str, is_in_company: bool) -> bool:
        """Tell whether the clock goes by the time of a store: of several only by that of one."""
        if self._clock_of not in (None, alias) and self._clock_of in self._members:
            return False
        self._clock_of = alias if is_in_company else None
        return True

    # -- what members tell ----------------------------------------------------------------------

    def clock_was_corrected(self, by: timedelta) -> None:
        """This node goes by another time now."""
        self._look_at.clear()
        for member in tuple(self._members.values()):
            member.clock_was_corrected(by)
        self._turns.clock_was_corrected(by)

    def lease_lost(self, alias: str) -> None:
        """The others took this node for dead; it joins anew."""
        self._lapsed.add(alias)
        member = self._members.get(alias)
        self._voice.log(
            logging.WARNING,
            "The schedulers that share job store %r took this one for dead, because it was not "
            "heard of for %g s. What it was running counts as lost, and what that returns will be "
            "refused. It goes on with what is due now",
            alias,
            member.store.lease if member else 0.0,
        )
        self._turns.was_cut_off(alias)

    # -- room -----------------------------------------------------------------------------------

    def executors_changed(self) -> None:
        """An executor has joined."""
        self._homeless.clear()
        for member in tuple(self._members.values()):
            member.offers(self._offered())

    def paused(self, is_paused: bool) -> None:
        """The scheduler was paused, or resumed: the others are not to count on it meanwhile."""
        self.is_paused = is_paused
        for member in tuple(self._members.values()):
            member.offers(self._offered(), since=self._house._clock.now())

    def _offered(self) -> tuple[str, ...]:
        return () if self.is_paused else tuple(self._house._executors)

    def others_since(self, alias: str, executor: str) -> datetime | None:
        """Return since when another node has had an executor, as far as it is known."""
        return self._since.get((alias, executor)) if self._since else None

    def _look_round(self, alias: str, nodes: Sequence[Node]) -> None:
        """Note who else is there."""
        self._since = {key: since for key, since in self._since.items() if key[0] != alias}
        for node in nodes:
            if node.alive and node.id != self.node_of(alias):
                for executor in node.executors:
                    key = alias, executor
                    self._since[key] = min(self._since.get(key, node.since), node.since)

    def rooms(self) -> dict[str, int | None]:
        """Return how many Runs each executor can take; None for any number."""
        rooms = {alias: self._room(alias) for alias in list(self._house._executors)}
        self._full = {alias for alias, room in rooms.items() if room == 0}
        return rooms

    def executors_with_room(self) -> list[str]:
        """Return the aliases of executors that can take a Run."""
        return with_room(self.rooms())

    def is_full(self, executor: str) -> None:
        """Note that an executor has no room left."""
        self._full.add(executor)

    def has_room_again(self, executor: str) -> bool:
        """Tell whether an executor that had no room left has some."""
        if not self._full or executor not in self._full or self._room(executor) == 0:
            return False
        self._full.discard(executor)
        return True

    def _room(self, alias: str) -> int | None:
        executor = self._house._executors.get(alias)
        if executor is None:
            return 0
        try:
            return executor.room()
        except Exception as error:
            self._voice.log(
                logging.ERROR, 'Error asking executor "%s" for its room', alias, exc_info=error
            )
            return None

    # -- the others -----------------------------------------------------------------------------

    def next_look(self, store: ClaimingJobStore, alias: str, now: datetime) -> datetime | None:
        """Return when to look what others have done to a store; None if there are no others.

        Where a test lets time pass, it also says when others have done something.
        """
        member = self._members.get(alias)
        if member is None or not member.real or not isinstance(store, SharedJobStore):
            return None
        return now + timedelta(seconds=store.poll_interval)

    def look_after(
        self, store: SharedJobStore, alias: str, now: datetime, late: list[SchedulerEvent]
    ) -> Generator[Callable[[], Any], Any, Sequence[Node]]:
        """Join anew if need be, and end what dead nodes were running; the steps of a turn.

        Returns who is there, if it was time to look.
        """
        member = self._members.get(alias)
        if member is None:
            return ()
        if alias in self._lapsed:
            yield member.rejoin
            self._lapsed.discard(alias)
        if not member.lapsed and now < self._look_at.get(alias, now):
            return ()
        nodes: Sequence[Node]
        is_first = alias not in self._look_at
        self._look_at[alias] = now + timedelta(seconds=store.lease / 3)
        member.lapsed = False
        if is_first and member.is_alone:
            # It has just looked, when it joined.
            nodes = (member.node,)
            self._look_round(alias, nodes)
            return nodes
        nodes = yield store.get_nodes
        self._look_round(alias, nodes)
        dead = member.dead_among(nodes)
        decide = partial(_engine.lapse, now, new_id=self._turns._new_id)
        only_named = not member.may_declare_dead
        for run, transition in (yield partial(store.claim_lapsed, decide, dead, only_named)):
            self._voice.tell(self._notices.lapsed, alias, moved(run, transition), late)
        return nodes

    def look_for_homeless(
        self, store: SharedJobStore, alias: str, now: datetime, nodes: Sequence[Node]
    ) -> Generator[Callable[[], Any], Any, None]:
        """Warn of jobs that are due and that no node has an executor for."""
        query = JobQuery(before=now - timedelta(seconds=LATE), limit=LATE_AT_MOST)
        ours = self._house._executors
        jobs = [job for job in (yield partial(store.find_jobs, query)) if job.executor not in ours]
        if not jobs:
            return
        elsewhere = {executor for node in nodes if node.alive for executor in node.executors}
        for job in jobs:
            if job.executor not in elsewhere and job.id not in self._homeless:
                self._homeless.add(job.id)
                self._voice.log(
                    logging.WARNING,
                    'Job "%s" in job store "%s" is due, but no scheduler has an executor "%s": it '
                    "waits until one is added under that alias, or until the job's executor is "
                    "changed",
                    job,
                    alias,
                    job.executor,
                )


_companies: Final[WeakSet[Company]] = WeakSet()


@atexit.register
def _leave_at_exit() -> None:
    # Threads of pools have ended by now, and what they ran; threads of ours still run.
    for company in list(_companies):
        company.leave_at_exit()
