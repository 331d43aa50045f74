"""Whether this process is one of several that a server has made of one program."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from apscheduler._values import value


@value
class Siblings:
    """The workers of a server, of which this process is one; None if their number is unknown."""

    server: str
    number: int | None

    @property
    def remedy(self) -> str:
        """Where else to start a scheduler."""
        if self.server == "gunicorn":
            return "where the application is made, under gunicorn --preload, or in another program"
        return "in another program"


def _of_gunicorn(names: dict[str, Any]) -> Siblings:
    return Siblings("gunicorn", names["self"].num_workers)


def _of_uvicorn(names: dict[str, Any]) -> Siblings:
    return Siblings("uvicorn", names["config"].workers)


def _of_hypercorn(names: dict[str, Any]) -> Siblings:
    return Siblings("hypercorn", names["config"].workers)


def _of_celery(names: dict[str, Any]) -> Siblings | None:
    is_celery = names["self"].initializer.__module__.startswith("celery.")
    return Siblings("celery", None) if is_celery else None


#: The functions inside which servers run a worker from its beginning to its end, by module and
#: name, with what their local names say.
_WORKERS: Final[dict[tuple[str, str], Callable[[dict[str, Any]], Siblings | None]]] = {
    ("gunicorn.arbiter", "spawn_worker"): _of_gunicorn,
    ("uvicorn._subprocess", "subprocess_started"): _of_uvicorn,
    ("hypercorn.asyncio.run", "asyncio_worker"): _of_hypercorn,
    ("hypercorn.asyncio.run", "uvloop_worker"): _of_hypercorn,
    ("hypercorn.trio.run", "trio_worker"): _of_hypercorn,
    ("billiard.pool", "__call__"): _of_celery,
}


def siblings() -> Siblings | None:
    """Return which server's workers this process is one of.

    None if it is not, or if it is the only one, or if that is not certain. What a server sets in
    the environment holds for its master too, which is the best place for a scheduler; but the
    stack of a worker's main thread cannot be mistaken.
    """
    try:
        found = _of_uwsgi() or _of_stack()
    except Exception:  # another version of that server
        return None
    only_one = found is not None and found.number is not None and found.number < 2
    return None if only_one else found


def _of_stack() -> Siblings | None:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        worker = _WORKERS.get((frame.f_globals.get("__name__", ""), frame.f_code.co_name))
        if worker is not None:
            return worker(frame.f_locals)
        frame = frame.f_back
    return None


def _of_uwsgi() -> Siblings | None:
    uwsgi: Any = sys.modules.get("uwsgi")
    # The master, which is number 0, makes the workers by forking.
    return Siblings("uWSGI", uwsgi.numproc) if uwsgi is not None and uwsgi.worker_id() else None
