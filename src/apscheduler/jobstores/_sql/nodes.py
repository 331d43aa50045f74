"""Nodes as rows, and their leases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError

from apscheduler.jobstores._sql.database import Database
from apscheduler.jobstores._sql.rows import moment, node_of, node_row
from apscheduler.jobstores.base import LeaseLostError
from apscheduler.nodes import Beat, Node

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection


class Nodes:
    """The nodes of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._questions = database.dialect.questions
        #: The node that this store object belongs to, once it has joined.
        self.joined: str | None = None

    @property
    def _table(self) -> Table:
        return self._database.tables.nodes

    def beat(self, node: Node, lease: float) -> Beat:
        """Let a node count as alive for so many seconds from now on."""
        row, length = node_row(node), round(lease * 1_000_000)
        try:
            anew = self._renew(row, length)
        except IntegrityError:
            anew = self._renew(row, length)  # Another thread was quicker.
        self.joined = node.id
        questions = self._questions
        with self._database.read() as connection:
            company = questions.of_now(connection, questions.company)
            found = questions.ask(connection, company, {"node": node.id}).one()
        return Beat(moment(found.now), bool(found.others), anew, bool(found.lapsed))

    def _renew(self, row: dict[str, Any], lease: int) -> bool:
        """Write a node's row; return whether there was none."""
        questions = self._questions
        given = {f"{name}_": value for name, value in row.items()} | {"lease": lease}
        # If the machine loses its power, no node of it lives on.
        with self._database.begin(lasting=False) as connection:
            renewal = questions.of_now(connection, questions.renewal)
            if questions.ask(connection, renewal, given).rowcount:
                return False
            questions.ask(connection, questions.of_now(connection, questions.joining), given)
            return True

    def check(self, connection: Connection, lock: bool = False) -> None:
        """See to it that this node is alive, as long as the transaction lasts if it is locked.

        :raises LeaseLostError: if it has joined, and its lease has lapsed
        """
        if self.joined is None:
            return
        questions = self._questions
        make = questions.staying_alive if lock else questions.alive
        question = questions.of_now(connection, make)
        if questions.ask(connection, question, {"node": self.joined}).first() is None:
            raise LeaseLostError(self.joined)

    def leave(self, node_id: str) -> None:
        with self._database.begin(lasting=False) as connection:
            questions = self._questions
            questions.ask(connection, questions.leaving(), {"node": node_id})
        if self.joined == node_id:
            self.joined = None

    def all(self) -> list[Node]:
        with self._database.read() as connection:
            question = self._questions.of_now(connection, self._questions.nodes)
            found = self._questions.ask(connection, question, {})
            return [node_of(row, row.now) for row in found]

    def dead(self, connection: Connection, named: list[str]) -> list[str]:
        """Return the ids of nodes whose lease has ended, or which are named."""
        now = self._database.dialect.now(connection)
        c = self._table.c
        condition = c.alive_until <= now
        if named:
            condition = or_(condition, c.id.in_(named))
        return list(connection.scalars(select(c.id).where(condition).order_by(c.id)))

    def forget(self, connection: Connection, node_id: str, named: bool) -> bool:
        """Delete a node that is dead; return whether it was there, and dead, still."""
        statement = self._table.delete().where(self._table.c.id == node_id)
        if not named:
            statement = statement.where(
                self._table.c.alive_until <= self._database.dialect.now(connection)
            )
        return bool(connection.execute(statement).rowcount)
