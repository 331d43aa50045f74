"""The processes that share a job store, as values."""

from __future__ import annotations

from datetime import datetime

from apscheduler._values import value


@value
class Node:
    """One running scheduler, as a shared job store sees it.

    All times are in UTC.

    :param id: new at each start
    :param host: name of the machine, or of the container
    :param boot: tells this start of the machine, and this name space of processes, from others
    :param pid: number of the process there
    :param process_started: what tells the process from an earlier one of that number
    :param executors: aliases of the executors it has
    :param since: when it joined, by its own clock
    :param alive_until: when its lease ends, in the time of the store; None before it has joined
    :param alive: whether its lease goes on
    """

    id: str
    host: str
    boot: str
    pid: int
    process_started: str
    executors: tuple[str, ...]
    since: datetime
    alive_until: datetime | None = None
    alive: bool = True


@value
class Beat:
    """What a node hears when it says that it is alive.

    :param time: what time it is for the store, in UTC
    :param others: whether other nodes are alive
    :param anew: whether the store did not know the node, or not any more
    :param lapsed: whether there is a node that is dead
    """

    time: datetime
    others: bool
    anew: bool
    lapsed: bool
