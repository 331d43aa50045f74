"""Jobs as a JSON document, out and in.

What JSON cannot express is embedded as pickle: a document is to be trusted like a program.
"""

from __future__ import annotations

import json
import pickle
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from typing import IO, TYPE_CHECKING, Any, cast

from apscheduler import version
from apscheduler.job import Job
from apscheduler.util import obj_to_ref, ref_to_obj

if TYPE_CHECKING:
    from apscheduler.schedulers.base import BaseScheduler

DOCUMENT_VERSION = 1


def export_jobs(jobs: Iterable[Job], outfile: IO[str] | str | PathLike[str]) -> None:
    """Write jobs to a file; it is opened only when all of them have been expressed."""
    text = json.dumps(
        {
            "version": DOCUMENT_VERSION,
            "scheduler_version": version,
            "jobs": [_state_of(job) for job in jobs],
        },
        default=_express,
    )
    with _opened(outfile, "write", "w") as file:
        file.write(text)


def import_jobs(infile: IO[str] | str | PathLike[str], scheduler: BaseScheduler) -> list[Job]:
    """Read jobs from a file.

    :raises ValueError: if the document is not one that `export_jobs` wrote
    """
    with _opened(infile, "read", "r") as file:
        document = json.load(file, object_hook=_restore)
    if not isinstance(document, dict):
        raise ValueError(
            f"the root of the document must be an object, got {type(document).__name__}; "
            f"import what export_jobs() wrote"
        )
    if document.get("version") != DOCUMENT_VERSION:
        raise ValueError(f"unrecognized version: {document.get('version')}")

    states = document.get("jobs")
    if not isinstance(states, list) or not all(isinstance(state, dict) for state in states):
        raise ValueError('the document must have a list of objects under "jobs"')

    jobs = []
    for state in states:
        job = Job.__new__(Job)
        job._scheduler = scheduler
        job._jobstore_alias = None
        job.__setstate__(state)
        job._modify(**state.get("options", {}))
        jobs.append(job)
    return jobs


def _state_of(job: Job) -> dict[str, Any]:
    state = job.__getstate__()
    # Beside what 3.x knows: it leaves alone what it does not.
    return state if job._options is None else {**state, "options": job._options}


def _opened(
    file: IO[str] | str | PathLike[str], method: str, mode: str
) -> AbstractContextManager[IO[str]]:
    if hasattr(file, method):
        return nullcontext(cast("IO[str]", file))
    if not isinstance(file, (str, PathLike)):
        raise TypeError(f"expected a path or an object with {method}(), got {file!r}")
    return open(file, mode, encoding="utf-8")


def _express(obj: Any) -> dict[str, Any]:
    if hasattr(obj, "__setstate__") and isinstance(state := obj.__getstate__(), Mapping):
        return {
            "__apscheduler_class__": obj_to_ref(type(obj)),
            "__apscheduler_state__": state,
        }
    pickled = pickle.dumps(obj, pickle.HIGHEST_PROTOCOL)
    return {"__apscheduler_pickle__": b64encode(pickled).decode("ascii")}


def _restore(obj: dict[str, Any]) -> Any:
    if "__apscheduler_class__" in obj:
        cls = ref_to_obj(obj["__apscheduler_class__"])
        restored = cls.__new__(cls)
        restored.__setstate__(obj["__apscheduler_state__"])
        return restored
    if "__apscheduler_pickle__" in obj:
        return pickle.loads(b64decode(obj["__apscheduler_pickle__"]))
    return obj
