"""What importing ``apscheduler.schedulers.background`` takes, in fresh interpreters.

Counted from within the new interpreter, so that its own start is left out: milliseconds, the
number of modules that the import adds, or milliseconds until a first job has run: what is
imported later is paid then.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from benchmarks.measure import Figure, program

BEGIN = "import sys, time; cpu, wall = time.process_time(), time.perf_counter()"
IMPORT = "import apscheduler.schedulers.background"
FIRST_RUN = """
import threading
done = threading.Event()
scheduler = apscheduler.schedulers.background.BackgroundScheduler(timezone="UTC")
scheduler.add_job(done.set, misfire_grace_time=None)
scheduler.start()
done.wait()
"""
END = "print([(time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e6])"
MODULES = f"import sys; before = len(sys.modules); {IMPORT}; print([len(sys.modules) - before, 0])"
PROGRAMS = {
    "milliseconds": "\n".join([BEGIN, IMPORT, END]),
    "first run": "\n".join([BEGIN, IMPORT, FIRST_RUN, END]),
    "modules": MODULES,
}


def measure(size: int, count: str) -> Figure:
    """Take the median of ``size`` imports; one more comes first, which may have to compile."""
    python = [sys.executable, "-c", PROGRAMS[count]]
    probes = [json.loads(subprocess.check_output(python)) for _ in range(size + 1)]
    value, cpu = (statistics.median(column) for column in zip(*probes[1:], strict=True))
    return Figure(value, cpu or None)


if __name__ == "__main__":
    program(measure)
