"""The face of a scheduler that shows jobs to people, and carries them elsewhere."""

from __future__ import annotations

import sys
from os import PathLike
from typing import IO

from apscheduler.job import Job
from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.schedulers._jobs import JobMethods


class ListingMethods(JobMethods):
    """Jobs as lines of text, and as a JSON document."""

    def print_jobs(self, jobstore: str | None = None, out: IO[str] | None = None) -> None:
        """Print the jobs for people to read.

        :param jobstore: alias of the only job store to print
        :param out: where to print; by default to standard output
        """
        out = out or sys.stdout
        if self._is_stopped():
            print("Pending jobs:", file=out)
            if not self._pending_jobs:
                print("    No pending jobs", file=out)
            for job in self.get_jobs(jobstore):
                print(f"    {job}", file=out)
            return
        for alias in sorted(self._aliases(jobstore)):
            print(f"Jobstore {alias}:", file=out)
            jobs = self._seam(alias).get_all_jobs()
            if not jobs:
                print("    No scheduled jobs", file=out)
            for job in jobs:
                print(f"    {job}", file=out)

    def export_jobs(
        self, outfile: IO[str] | str | PathLike[str], jobstore: str | None = None
    ) -> None:
        """Write jobs to a JSON document, from which `import_jobs` restores them.

        :param outfile: a path, or a file that is open for writing text
        :param jobstore: alias of the only job store to export
        :raises RuntimeError: if the scheduler is not started
        :raises ValueError: if the callable of a job cannot be referenced by name
        """
        from apscheduler.schedulers._transfer import export_jobs

        if self._is_stopped():
            raise RuntimeError("the scheduler must have been started for job export to work")
        export_jobs(self.get_jobs(jobstore), outfile)

    def import_jobs(
        self, infile: IO[str] | str | PathLike[str], jobstore: str = "default"
    ) -> None:
        """Add the jobs of a document that `export_jobs` wrote: all of them or, on error, none.

        Only import documents that you trust: like any pickle, they can run code.

        :param infile: a path, or a file that is open for reading text
        :param jobstore: alias of the job store that gets the jobs
        :raises KeyError: if the scheduler has no such job store
        :raises ValueError: if the document is not one that `export_jobs` wrote
        :raises ConflictingIdError: if there is a job by the id of one of them already
        """
        from apscheduler.schedulers._transfer import import_jobs

        jobs = import_jobs(infile, self)  # type: ignore[arg-type]
        store = self._seam(jobstore)
        known: set[str] = set()
        for job in jobs:
            if job.id in known or store.lookup_job(job.id) is not None:
                raise ConflictingIdError(job.id)
            known.add(job.id)
        added: list[Job] = []
        try:
            for job in jobs:
                self._real_add_job(job, jobstore, False)
                added.append(job)
        except BaseException:
            for job in added:
                store.remove_job(job.id)
            raise
