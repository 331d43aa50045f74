"""How the tests run the examples under gunicorn."""

from __future__ import annotations

import os
from typing import Any

bind = "127.0.0.1:0"
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
graceful_timeout = 5
control_socket_disable = True


def when_ready(server: Any) -> None:
    port = server.LISTENERS[0].getsockname()[1]
    # In one write: the workers have this output, too.
    os.write(1, f"gunicorn {os.getpid()} at {port}\n".encode())
