"""Jobs and Runs in an SQL database, which any number of schedulers may share."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

try:
    from sqlalchemy import MetaData
except ImportError as error:
    raise ImportError(
        "SQLAlchemyJobStore needs SQLAlchemy: install apscheduler[sqlalchemy]"
    ) from error

from apscheduler._log import say
from apscheduler.clock import UTC
from apscheduler.job import Job
from apscheduler.jobstores import _pickled
from apscheduler.jobstores._sql.claims import Claimer, claimer_for
from apscheduler.jobstores._sql.database import Database
from apscheduler.jobstores._sql.engines import make_engine, write_ahead
from apscheduler.jobstores._sql.history import History
from apscheduler.jobstores._sql.jobs import Jobs
from apscheduler.jobstores._sql.migrations import NoRightsError, bring_up_to_date
from apscheduler.jobstores._sql.nodes import Nodes
from apscheduler.jobstores._sql.quarantine import Reader
from apscheduler.jobstores._sql.rows import seconds
from apscheduler.jobstores._sql.runs import Runs
from apscheduler.jobstores._sql.schema import Tables
from apscheduler.jobstores._sql.watch import Watch
from apscheduler.jobstores.base import Claims, QuarantinedJob, SharedJobStore
from apscheduler.nodes import Beat, Node
from apscheduler.runs import (
    Due,
    JobChange,
    JobQuery,
    Live,
    Plan,
    Retention,
    Run,
    RunQuery,
    Transition,
)
from apscheduler.util import maybe_ref

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine

    from apscheduler.jobstores._sql.dialects import Dialect


class SQLAlchemyJobStore(SharedJobStore):
    """Keeps jobs and Runs in a database; schedulers in any number of processes may share it.

    A table that APScheduler 3.x has written is used as it is, with a few columns more, and can be
    read by 3.x again.

    :param url: the database; see SQLAlchemy's documentation of engines
    :param engine: an SQLAlchemy engine, or a textual reference to one, in place of ``url``
    :param tablename: name of the table of jobs; the names of the others begin with it
    :param metadata: a `sqlalchemy.MetaData` for the tables, or a textual reference to one. All are
        in it at once; in one that a store makes itself, those beside ``jobs_t`` may come later
    :param pickle_protocol: protocol in which jobs are pickled
    :param tableschema: name of the database schema of the tables
    :param engine_options: arguments of `sqlalchemy.create_engine`, if ``url`` is given
    :param lease: seconds for which a scheduler counts as alive after it last said so
    :param poll_interval: seconds after which a scheduler looks for what others have changed
    :param history: how long ended Runs are kept
    :raises ValueError: if neither ``url`` nor ``engine`` is given, or a number of seconds is not
        positive, or ``poll_interval`` not shorter than ``lease``
    """

    #: What the database is taken to be able to do, for tests.
    _abilities: ClassVar[type[Dialect] | None] = None

    def __init__(
        self,
        url: str | URL | None = None,
        engine: Engine | str | None = None,
        tablename: str = "apscheduler_jobs",
        metadata: MetaData | str | None = None,
        pickle_protocol: int = pickle.HIGHEST_PROTOCOL,
        tableschema: str | None = None,
        engine_options: Mapping[str, Any] | None = None,
        *,
        lease: float = 30.0,
        poll_interval: float = 1.0,
        history: Retention = Retention(),  # noqa: B008  # a value, which nobody changes
    ) -> None:
        super().__init__()
        self.pickle_protocol = pickle_protocol
        self.lease = _positive("lease", lease)
        self.poll_interval = _positive("poll_interval", poll_interval)
        if poll_interval >= lease:
            raise ValueError(
                f"poll_interval must be shorter than lease, got {poll_interval!r} and {lease!r}"
            )
        if not isinstance(history, Retention):
            raise TypeError(f"history must be a Retention, got {history!r}")
        self.retention = history
        self._owns_engine = not engine
        if engine:
            self.engine: Engine = maybe_ref(engine)
        elif url:
            self.engine = make_engine(url, engine_options or {})
        else:
            raise ValueError('Need either "engine" or "url" defined')
        shown = maybe_ref(metadata)
        self._tables = Tables(
            MetaData() if shown is None else shown,
            tablename,
            tableschema,
            self.engine.dialect.name,
            at_once=shown is not None,
        )
        self.jobs_t = self._tables.jobs
        self._database = Database(self.engine, self._tables)
        self._shared = True
        self._furnish()

    def _furnish(self) -> None:
        """Make the rooms, for what is known of the database by now."""
        alias, database = self._alias or "", self._database
        opened: set[str] = set()
        overridden = type(self)._reconstitute_job is not SQLAlchemyJobStore._reconstitute_job
        self._reader = Reader(
            alias, self._logger, self._reconstitute_job, None if overridden else self._harmless_job
        )
        self._nodes = Nodes(database)
        self._watch = Watch(database)
        self.can_watch = self._watch.is_possible
        self._jobs = Jobs(
            database, self._reader, self.pickle_protocol, self._shared, self._watch.tell
        )
        make: type[Claimer] = claimer_for(database)
        self._claimer = make(
            database,
            self._jobs,
            self._nodes,
            self._reader,
            self._logger,
            self.pickle_protocol,
            opened,
        )
        self._runs = Runs(
            database,
            self._jobs,
            self._nodes,
            self._claimer,
            self._reader,
            alias,
            self.pickle_protocol,
            opened,
        )
        self._history = History(database, opened)
        self.decides_under_lock = database.dialect.locks_rows

    # -- the contract of 3.x --------------------------------------------------------------------

    def start(self, scheduler: Any, alias: str) -> None:
        super().start(scheduler, alias)
        if self._owns_engine and self.engine.dialect.name == "sqlite":
            self._database.writes_ahead = write_ahead(self.engine)
        self._database.meet(self._abilities)
        self._shared = True
        try:
            bring_up_to_date(self._database)
        except NoRightsError as error:
            self._shared = False
            say(
                self._logger,
                logging.WARNING,
                "The tables of job store %r cannot be brought up to date: %s. It works as in 3.x "
                "meanwhile: only one scheduler may use it, and runs are not kept. Somebody who "
                "may change tables can run: %s",
                alias,
                error.__cause__,
                ";\n".join(error.statements),
            )
        self._furnish()

    def shutdown(self) -> None:
        self.unwatch()
        if self._owns_engine:
            self.engine.dispose()

    def after_fork(self) -> Iterable[Job]:
        self._database.after_fork()
        self._watch.after_fork()
        self._furnish()
        return ()

    @property
    def can_be_shared(self) -> bool:
        return self._shared

    def lookup_job(self, job_id: str) -> Job | None:
        return self._jobs.lookup(job_id)

    def get_due_jobs(self, now: datetime) -> list[Job]:
        return self._get_jobs(self.jobs_t.c.next_run_time <= seconds(now))

    def get_next_run_time(self) -> datetime | None:
        return self._jobs.next_run_time()

    def get_all_jobs(self) -> list[Job]:
        jobs = self._get_jobs()
        self._fix_paused_jobs_sorting(jobs)
        return jobs

    def add_job(self, job: Job, born: datetime | None = None) -> None:
        self._jobs.add([job], born)

    def add_jobs(self, jobs: Sequence[Job], born: datetime | None = None) -> None:
        if jobs:
            self._jobs.add(jobs, born)

    def update_job(self, job: Job, born: datetime | None = None) -> None:
        self._jobs.update(job, born)

    def remove_job(self, job_id: str) -> None:
        self._jobs.remove(job_id)
        self._claimer.forget(job_id)

    def remove_all_jobs(self) -> None:
        self._jobs.remove_all()
        self._claimer.forget_all()

    def _reconstitute_job(self, job_state: bytes) -> Job:
        return self._adopted(_pickled.load(job_state))

    def _harmless_job(self, job_state: bytes) -> Job:
        return self._adopted(_pickled.load_harmless(job_state))

    def _adopted(self, job: Job) -> Job:
        job._scheduler = self._scheduler
        job._jobstore_alias = self._alias
        return job

    def _get_jobs(self, *conditions: Any) -> list[Job]:
        return self._jobs.select(*conditions)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} (url={self.engine.url!r})>"

    # -- edits ----------------------------------------------------------------------------------

    def find_jobs(self, query: JobQuery) -> list[Job]:
        return self._jobs.find(query)

    def replace_job(self, job: Job, keeps_phase: Callable[[Job], bool], born: datetime) -> bool:
        return self._jobs.replace(job, keeps_phase, born)

    def modify_job(
        self, job_id: str, change: Callable[[Job], None], born: datetime | None = None
    ) -> Job:
        return self._jobs.modify(job_id, change, born)

    # -- slots and Runs -------------------------------------------------------------------------

    def claim(
        self,
        now: datetime,
        decide: Callable[[Due], Plan | None],
        limit: int,
        without: Collection[str],
        executors: Collection[str] | None = None,
    ) -> Claims:
        return self._claimer.claim(now, decide, limit, without, executors)

    def claim_waiting(
        self,
        now: datetime,
        decide: Callable[[Run, Job | None], Transition],
        limit: int,
        executors: Collection[str] | None = None,
        node: str | None = None,
    ) -> list[tuple[Run, Job]]:
        return self._runs.claim_waiting(now, decide, limit, executors, node)

    def claim_lapsed(
        self,
        decide: Callable[[Run], Transition],
        dead: Collection[str] = (),
        only_named: bool = False,
    ) -> list[tuple[Run, Transition]]:
        return self._runs.claim_lapsed(decide, dead, only_named)

    def open_run(self, job_id: str, decide: Callable[[Job, str, Live], Run]) -> tuple[Run, Job]:
        return self._runs.open(job_id, decide)

    def apply(self, transitions: Sequence[Transition]) -> list[bool]:
        return self._runs.apply(transitions)

    def next_wake(
        self, without: Collection[str], executors: Collection[str] | None = None
    ) -> datetime | None:
        due_at, attention_at = self._runs.next_wakes(without, executors)
        self.calm_until = attention_at or _FOREVER
        return min((moment for moment in (due_at, attention_at) if moment), default=None)

    def get_runs(self, query: RunQuery) -> list[Run]:
        return self._runs.find(query)

    def note(self, change: JobChange) -> None:
        self._history.note(change)

    def get_changes(self, job_id: str) -> list[JobChange]:
        return self._history.changes(job_id)

    def prune(self, now: datetime) -> int:
        return self._history.prune(now, self.retention)

    # -- nodes ----------------------------------------------------------------------------------

    def beat(self, node: Node) -> Beat:
        beat = self._nodes.beat(node, self.lease)
        self._jobs.release_changed()
        self._runs.release_ended()
        return beat

    def leave(self, node_id: str) -> None:
        self._nodes.leave(node_id)

    def get_nodes(self) -> list[Node]:
        return self._nodes.all()

    def watch(self, timeout: float) -> bool:
        return self._watch.wait(timeout) if self.can_watch else super().watch(timeout)

    def unwatch(self) -> None:
        self._watch.end()

    def get_quarantined_jobs(self) -> list[QuarantinedJob]:
        return self._jobs.quarantined()


_FOREVER = datetime.max.replace(tzinfo=UTC)


def _positive(name: str, seconds: Any) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{name} must be a number of seconds, got {seconds!r}")
    if not seconds > 0:
        raise ValueError(f"{name} must be more than 0 seconds, got {seconds!r}")
    return float(seconds)
