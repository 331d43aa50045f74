"""Who harms the schedulers and their store: what is done when, decided by a seed alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

#: Done to one node: it is killed, is stopped for longer than its lease and goes on, or is asked
#: to end. It is started again, with another error of its clock.
TO_NODES = ("kill", "freeze", "leave")
#: Done to the store, as far as it is of that kind.
TO_SERVERS = ("cut", "stop server", "kill server")
TO_FILES = ("lock",)
#: Seconds between two blows.
PAUSE = (1.5, 4.0)
#: By how many seconds a clock may be wrong.
WRONG = 180.0


@dataclass(frozen=True)
class Blow:
    """One thing that is to be done.

    :param after: in how many seconds, from the beginning on
    :param seconds: for how long
    :param wrong_by: seconds by which the clock of a node is wrong afterwards
    :param choice: below 1, tells which of several nodes or connections are struck
    """

    kind: str
    after: float
    seconds: float
    wrong_by: float
    choice: float


def blows(seed: str, seconds: float, kinds: Sequence[str], lease: float) -> list[Blow]:
    """Return what is to be done within so many seconds: each kind once, and then at random."""
    chance = random.Random(seed)
    first = list(kinds)
    chance.shuffle(first)
    planned: list[Blow] = []
    after = chance.uniform(*PAUSE)
    while after < seconds:
        kind = first.pop() if first else chance.choice(kinds)
        planned.append(
            Blow(
                kind,
                after,
                _duration(kind, chance, lease),
                chance.choice([0.0, chance.uniform(-WRONG, WRONG)]),
                chance.random(),
            )
        )
        after += chance.uniform(*PAUSE)
    return planned


def _duration(kind: str, chance: random.Random, lease: float) -> float:
    match kind:
        case "freeze":
            return chance.uniform(1.2, 2.0) * lease
        case "kill" | "leave":
            return chance.choice([0.0, chance.uniform(0, 1.5 * lease)])
    return chance.uniform(0.2, 1.5 * lease)
