"""What is asked at each turn. To make such a question takes longer than to ask it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, exists, literal_column, or_, select, text

from apscheduler.jobstores._sql.rows import RUN_COLUMNS
from apscheduler.jobstores._sql.schema import LIVE

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from apscheduler.jobstores._sql.dialects import Dialect

#: What a decision about a job must find as it was.
GROUND = ("job_state", "revision", "incarnation")


class Questions:
    """Questions in the terms of SQLAlchemy, each made once.

    :param dialect: what the database can do
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._tables = dialect.tables
        self.due = lru_cache(maxsize=None)(self._make_due)
        self.waiting = lru_cache(maxsize=None)(self._make_waiting)
        self.wake = lru_cache(maxsize=None)(self._make_wake)
        self.ground = lru_cache(maxsize=None)(self._make_ground)
        self.live = lru_cache(maxsize=None)(self._make_live)
        self._checks: dict[bool, Any] = {}

    def ask(self, connection: Connection, question: Any, parameters: dict[str, Any]) -> Any:
        """Ask one of these questions; return the result."""
        return connection.execute(question, parameters)

    def is_alive(self, connection: Connection, node_id: str, lock: bool) -> bool:
        """Tell whether a node is alive.

        :param lock: whether it is to stay so until the end of the transaction
        """
        statement = self._checks.get(lock)
        if statement is None:
            c = self._tables.nodes.c
            now = self._dialect.now(connection)
            statement = select(c.id).where(c.id == bindparam("id_"), c.alive_until > now)
            if lock:
                statement = statement.with_for_update(read=True)
            if self._dialect.has_clock:
                self._checks[lock] = statement
        return connection.execute(statement, {"id_": node_id}).first() is not None

    def _make_due(self, some: bool, without: bool, later: bool, named: bool) -> Any:
        """Return what asks for due jobs.

        :param some: whether only for those of some executors
        :param without: whether some ids are left out
        :param later: whether only for those after one of them
        :param named: whether only for some ids
        """
        dialect, c = self._dialect, self._tables.jobs.c
        statement = select(self._tables.jobs).where(c.next_run_time <= bindparam("now"))
        if some:
            statement = statement.where(
                or_(c.executor.is_(None), dialect.among(c.executor, "executors"))
            )
        if without:
            statement = statement.where(dialect.not_among(c.id, "without"))
        if later:
            time: Any = bindparam("time")
            statement = statement.where(
                or_(
                    c.next_run_time > time,
                    and_(c.next_run_time == time, c.id > bindparam("after")),
                )
            )
        if named:
            statement = statement.where(dialect.among(c.id, "ids"))
        statement = statement.order_by(c.next_run_time, c.id).limit(bindparam("size"))
        if dialect.locks_rows and not named:
            statement = statement.with_for_update(skip_locked=True)
        return statement

    def _make_live(self) -> Any:
        """Return what asks what of the jobs ``ids`` is live."""
        return self._dialect.live()

    def _make_ground(self) -> Any:
        """Return what asks for the `GROUND` of the jobs ``ids``."""
        c = self._tables.jobs.c
        statement = select(c.id, *(c[name] for name in GROUND)).where(
            c.id.in_(bindparam("ids", expanding=True))
        )
        if self._dialect.locks_rows:
            statement = statement.order_by(c.id).with_for_update(skip_locked=True)
        return statement

    def _make_waiting(self, some: bool, later: bool) -> Any:
        """Return what asks for waiting Runs that need attention; see `_make_due`."""
        c = self._tables.runs.c
        statement = (
            select(*(c[name] for name in RUN_COLUMNS))
            .where(*self._attention(some), c.attention_at <= bindparam("now"))
            .order_by(c.attention_at, c.id)
            .limit(bindparam("size"))
        )
        if not later:
            return statement
        after_at: Any = bindparam("after_at")
        return statement.where(
            or_(
                c.attention_at > after_at,
                and_(c.attention_at == after_at, c.id > bindparam("after_id")),
            )
        )

    def _attention(
        self, some: bool, unreadable: bool = False, undefined: bool = False
    ) -> list[Any]:
        """Return the conditions under which a Run needs attention at some moment."""
        runs, dialect = self._tables.runs, self._dialect
        c = runs.c
        # What is left of a batch runs one after the other, whoever runs it.
        earlier = runs.alias("earlier")
        is_first = ~exists().where(
            earlier.c.job_id == c.job_id,
            earlier.c.batch == c.batch,
            earlier.c.id < c.id,
            text("earlier.state IN ('waiting','running')"),
        )
        waits = c.state == literal_column("'waiting'")
        conditions = [waits, c.attention_at.is_not(None), is_first]
        if some:
            conditions.append(dialect.among(c.executor, "executors"))
        if unreadable:
            conditions.append(dialect.not_among(c.job_id, "unreadable"))
        if undefined:
            conditions.append(dialect.not_among(c.id, "undefined"))
        return conditions

    def _make_wake(self, some: bool, without: bool, unreadable: bool, undefined: bool) -> Any:
        """Return what asks when the first job is due, and when the first Run needs attention.

        :param unreadable: whether the Runs of some jobs are left out
        :param undefined: whether some Runs are left out
        """
        jobs, runs, dialect = self._tables.jobs.c, self._tables.runs.c, self._dialect
        due = select(jobs.next_run_time).where(jobs.next_run_time.is_not(None))
        if without:
            due = due.where(dialect.not_among(jobs.id, "without"))
        if some:
            due = due.where(
                or_(jobs.executor.is_(None), dialect.among(jobs.executor, "executors"))
            )
        due = due.order_by(jobs.next_run_time).limit(1)
        attention = (
            select(runs.attention_at)
            .where(*self._attention(some, unreadable, undefined))
            .order_by(runs.attention_at)
            .limit(1)
        )
        return select(due.scalar_subquery(), attention.scalar_subquery())


class SQLiteQuestions(Questions):
    """The same as text, which the driver takes as it is, and gives back what is stored.

    Most programs have their jobs in such a file, and few of them many. There, what SQLAlchemy does
    for each question is dearer than the answer.

    :param clock: what tells the time in microseconds
    """

    def __init__(self, dialect: Dialect, clock: str) -> None:
        super().__init__(dialect)
        names = dialect.engine.dialect.identifier_preparer
        self._jobs = names.format_table(self._tables.jobs)
        self._runs = names.format_table(self._tables.runs)
        nodes = names.format_table(self._tables.nodes)
        self._check = f"SELECT 1 FROM {nodes} WHERE id = ? AND alive_until > {clock}"

    def ask(self, connection: Connection, question: str, parameters: dict[str, Any]) -> Any:
        given: dict[str, Any] = {}
        for name, value in parameters.items():
            if isinstance(value, list):
                each = {f"{name}_{number}": one for number, one in enumerate(value)}
                places = ", ".join([f":{place}" for place in each])
                question = question.replace(f"(:{name})", f"({places})")
                given |= each
            else:
                given[name] = value
        return connection.exec_driver_sql(question, given)

    def is_alive(self, connection: Connection, node_id: str, lock: bool) -> bool:
        return connection.exec_driver_sql(self._check, (node_id,)).first() is not None

    def _make_due(self, some: bool, without: bool, later: bool, named: bool) -> str:
        return (
            f"SELECT {', '.join(c.name for c in self._tables.jobs.c)} FROM {self._jobs} "
            f"WHERE next_run_time <= :now"
            + " AND (executor IS NULL OR executor IN (:executors))" * some
            + " AND id NOT IN (:without)" * without
            + " AND (next_run_time > :time OR (next_run_time = :time AND id > :after))" * later
            + " AND id IN (:ids)" * named
            + " ORDER BY next_run_time, id LIMIT :size"
        )

    def _make_live(self) -> str:
        return (
            f"SELECT job_id, count(DISTINCT batch), "
            f"max(CASE WHEN kind = 'slot' THEN opened_at END) "
            f"FROM {self._runs} INDEXED BY {self._dialect.live_index} "
            f"WHERE job_id IN (:ids) AND {LIVE} GROUP BY job_id"
        )

    def _make_ground(self) -> str:
        return f"SELECT id, {', '.join(GROUND)} FROM {self._jobs} WHERE id IN (:ids)"

    def _make_waiting(self, some: bool, later: bool) -> str:
        return (
            f"SELECT {', '.join(RUN_COLUMNS)} FROM {self._runs} "
            f"WHERE {self._needs_attention(some)} AND attention_at <= :now"
            + " AND (attention_at > :after_at OR (attention_at = :after_at AND id > :after_id))"
            * later
            + " ORDER BY attention_at, id LIMIT :size"
        )

    def _make_wake(self, some: bool, without: bool, unreadable: bool, undefined: bool) -> str:
        due = (
            f"SELECT next_run_time FROM {self._jobs} WHERE next_run_time IS NOT NULL"
            + " AND id NOT IN (:without)" * without
            + " AND (executor IS NULL OR executor IN (:executors))" * some
            + " ORDER BY next_run_time LIMIT 1"
        )
        attention = (
            f"SELECT attention_at FROM {self._runs} WHERE {self._needs_attention(some)}"
            + " AND job_id NOT IN (:unreadable)" * unreadable
            + " AND id NOT IN (:undefined)" * undefined
            + " ORDER BY attention_at LIMIT 1"
        )
        return f"SELECT ({due}), ({attention})"

    def _needs_attention(self, some: bool) -> str:
        runs = self._runs
        return (
            f"state = 'waiting' AND attention_at IS NOT NULL AND NOT EXISTS ("
            f"SELECT * FROM {runs} AS earlier WHERE earlier.job_id = {runs}.job_id "
            f"AND earlier.batch = {runs}.batch AND earlier.id < {runs}.id "
            f"AND earlier.state IN ('waiting','running'))" + " AND executor IN (:executors)" * some
        )
