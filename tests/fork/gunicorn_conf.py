"""How the tests run gunicorn."""

from __future__ import annotations

import os
import sys
from typing import Any

bind = "127.0.0.1:0"
workers = 4
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
graceful_timeout = 5
control_socket_disable = True


def say(line: str) -> None:
    # In one write: several processes have this output.
    os.write(1, f"{line}\n".encode())


def when_ready(server: Any) -> None:
    say(f"master {os.getpid()} at {server.LISTENERS[0].getsockname()[1]}")


def post_fork(server: Any, worker: Any) -> None:
    if os.environ["START"] == "post_fork":
        sys.modules["web_app"].scheduler.start()


def post_worker_init(worker: Any) -> None:
    say(f"serving {os.getpid()}")
