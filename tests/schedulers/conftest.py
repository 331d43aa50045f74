"""What the tests of the hosts share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from host_kit import HOSTS, Host

MakeHost = Callable[..., Host]


@pytest.fixture
def make_host() -> Iterator[MakeHost]:
    """Make hosts by name, which are shut down after the test."""
    hosts: list[Host] = []

    def make(kind: str, **options: Any) -> Host:
        hosts.append(HOSTS[kind](**options))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest, make_host: MakeHost) -> Host:
    """A host of each kind, not started."""
    return make_host(request.param)
