"""What is said at each turn and beat. To make such a statement takes longer than to send it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, and_, bindparam, exists, literal_column, or_, select, text

from apscheduler.jobstores._sql.rows import RUN_COLUMNS
from apscheduler.jobstores._sql.schema import LIVE, NODE_COLUMNS

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from apscheduler.jobstores._sql.dialects import Dialect

#: What a decision about a job must find as it was.
GROUND = ("job_state", "revision", "incarnation")


#: A parameter, or the name of a table in which something may look like one.
_PARAMETER = re.compile(r'"[^"]*"|:(\w+)')


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
        self.job = lru_cache(maxsize=None)(self._make_job)
        self.leaving = lru_cache(maxsize=None)(self._make_leaving)
        self.exhausted = lru_cache(maxsize=None)(self._make_exhausted)
        self._of_now: dict[Callable[[Any], Any], Any] = {}

    def ask(self, connection: Connection, question: Any, parameters: dict[str, Any]) -> Any:
        """Ask one of these questions; return the result."""
        return connection.execute(question, parameters)

    def of_text(self, question: str) -> Any:
        """Return a question without parameters."""
        return text(self._dialect.name_in_text(question))

    def of_now(self, connection: Connection, make: Callable[[Any], Any]) -> Any:
        """Return a question in which the present moment occurs.

        :param make: one of the methods that makes such a question from that moment
        """
        question = self._of_now.get(make)
        if question is None:
            question = make(self._dialect.now(connection))
            if self._dialect.has_clock:
                self._of_now[make] = question
        return question

    # -- nodes ----------------------------------------------------------------------------------

    def alive(self, now: Any) -> Any:
        """Return what asks whether the node ``node`` is alive."""
        c = self._tables.nodes.c
        return select(c.id).where(c.id == bindparam("node"), c.alive_until > now)

    def staying_alive(self, now: Any) -> Any:
        """Return what asks whether a node is alive, and lets it be until the transaction ends."""
        return self.alive(now).with_for_update(read=True)

    def renewal(self, now: Any) -> Any:
        """Return what lets a node be alive that is known, for ``lease`` microseconds."""
        nodes = self._tables.nodes
        values = self._node_values(now)
        return nodes.update().where(nodes.c.id == values.pop("id")).values(values)

    def joining(self, now: Any) -> Any:
        """Return what makes a node known."""
        return self._tables.nodes.insert().values(self._node_values(now))

    def _make_leaving(self) -> Any:
        """Return what removes the node ``node``."""
        nodes = self._tables.nodes
        return nodes.delete().where(nodes.c.id == bindparam("node"))

    def _node_values(self, now: Any) -> dict[str, Any]:
        values: dict[str, Any] = {name: bindparam(f"{name}_") for name in NODE_COLUMNS}
        values["alive_until"] = now + bindparam("lease", type_=BigInteger)
        return values

    def company(self, now: Any) -> Any:
        """Return what asks for the time, whether ``node`` is alone, and whether any has died."""
        nodes, runs = self._tables.nodes, self._tables.runs
        unknown = exists(
            select(runs.c.id)
            .where(text(LIVE), not_waiting_for_a_moment(runs))
            .where(~exists().where(nodes.c.id == runs.c.node))
        )
        others = nodes.c.id != bindparam("node"), nodes.c.alive_until > now
        return select(
            now.label("now"),
            exists().where(*others).label("others"),
            or_(exists().where(nodes.c.alive_until <= now), unknown).label("lapsed"),
        )

    def nodes(self, now: Any) -> Any:
        """Return what asks for all nodes, and the time."""
        nodes = self._tables.nodes
        return select(nodes, now.label("now")).order_by(nodes.c.since, nodes.c.id)

    # -- jobs and Runs --------------------------------------------------------------------------

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

    def _make_job(self, *names: str) -> Any:
        """Return what asks for some columns of the job ``id_``."""
        c = self._tables.jobs.c
        return select(*(c[name] for name in names)).where(c.id == bindparam("id_"))

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

    def _make_exhausted(self) -> Any:
        """Return what removes the jobs ``ids``, which come no more."""
        jobs = self._tables.jobs
        return jobs.delete().where(jobs.c.id.in_(bindparam("ids", expanding=True)))

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
        preparer = dialect.engine.dialect.identifier_preparer
        self._jobs = dialect.jobs_name
        self._runs = dialect.runs_name
        self._nodes = self._tables.name(preparer, "_nodes")
        self._clock = clock

    def ask(self, connection: Connection, question: str, parameters: dict[str, Any]) -> Any:
        # By position: SQLite looks for each name among all others.
        texts, names = _taken_apart(question)
        made, given = [texts[0]], []
        for name, following in zip(names, texts[1:], strict=True):
            value = parameters[name]
            if isinstance(value, list):
                made += ", ".join("?" * len(value)), following
                given += value
            else:
                made += "?", following
                given.append(value)
        return connection.exec_driver_sql("".join(made), tuple(given))

    def of_text(self, question: str) -> str:
        return question

    def alive(self, now: Any) -> str:
        return f"SELECT id FROM {self._nodes} WHERE id = :node AND alive_until > {self._clock}"

    def renewal(self, now: Any) -> str:
        values = ", ".join(f"{name} = {value}" for name, value in self._node_texts().items())
        return f"UPDATE {self._nodes} SET {values} WHERE id = :id_"

    def joining(self, now: Any) -> str:
        texts = self._node_texts()
        names, values = ", ".join(texts), ", ".join(texts.values())
        return f"INSERT INTO {self._nodes} ({names}) VALUES ({values})"

    def _make_leaving(self) -> str:
        return f"DELETE FROM {self._nodes} WHERE id = :node"

    def _node_texts(self) -> dict[str, str]:
        values = {name: f":{name}_" for name in NODE_COLUMNS}
        return values | {"alive_until": f"{self._clock} + :lease"}

    def company(self, now: Any) -> str:
        nodes, runs = self._nodes, self._runs
        return (
            f"SELECT {self._clock} AS now, EXISTS (SELECT 1 FROM {nodes} "
            f"WHERE id != :node AND alive_until > {self._clock}) AS others, "
            f"EXISTS (SELECT 1 FROM {nodes} WHERE alive_until <= {self._clock}) "
            f"OR EXISTS (SELECT 1 FROM {runs} WHERE {LIVE} "
            f"AND (state = 'running' OR attention_at IS NULL) "
            f"AND NOT EXISTS (SELECT 1 FROM {nodes} WHERE {nodes}.id = {runs}.node)) AS lapsed"
        )

    def nodes(self, now: Any) -> str:
        columns = ", ".join(NODE_COLUMNS)
        return f"SELECT {columns}, {self._clock} AS now FROM {self._nodes} ORDER BY since, id"

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

    def _make_job(self, *names: str) -> str:
        return f"SELECT {', '.join(names)} FROM {self._jobs} WHERE id = :id_"

    def _make_live(self) -> str:
        return (
            f"SELECT job_id, count(DISTINCT batch), "
            f"max(CASE WHEN kind = 'slot' THEN opened_at END) "
            f"FROM {self._runs} INDEXED BY {self._dialect.live_index} "
            f"WHERE job_id IN (:ids) AND {LIVE} GROUP BY job_id"
        )

    def _make_ground(self) -> str:
        return f"SELECT id, {', '.join(GROUND)} FROM {self._jobs} WHERE id IN (:ids)"

    def _make_exhausted(self) -> str:
        return f"DELETE FROM {self._jobs} WHERE id IN (:ids)"

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


@lru_cache(maxsize=256)
def _taken_apart(question: str) -> tuple[list[str], list[str]]:
    """Return the texts between the parameters of a question, and the names of those."""
    texts: list[str] = []
    names: list[str] = []
    end = 0
    for found in _PARAMETER.finditer(question):
        if found[1]:
            texts.append(question[end : found.start()])
            names.append(found[1])
            end = found.end()
    return [*texts, question[end:]], names


def not_waiting_for_a_moment(runs: Any) -> Any:
    """Return the condition that a live Run is in the care of its node."""
    return or_(runs.c.state == "running", runs.c.attention_at.is_(None))
