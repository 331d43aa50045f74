"""Nodes as rows, and their leases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, exists, literal, or_, select, text
from sqlalchemy.exc import IntegrityError

from apscheduler.jobstores._sql.database import Database
from apscheduler.jobstores._sql.rows import moment, node_of, node_row
from apscheduler.jobstores._sql.schema import LIVE
from apscheduler.jobstores.base import LeaseLostError
from apscheduler.nodes import Beat, Node

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


class Nodes:
    """The nodes of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._table = database.tables.nodes
        #: The node that this store object belongs to, once it has joined.
        self.joined: str | None = None

    def beat(self, node: Node, lease: float) -> Beat:
        """Let a node count as alive for so many seconds from now on."""
        row, length = node_row(node), round(lease * 1_000_000)
        try:
            anew = self._renew(row, length)
        except IntegrityError:
            anew = self._renew(row, length)  # Another thread was quicker.
        self.joined = node.id
        with self._database.read() as connection:
            now = self._database.dialect.now(connection)
            c = self._table.c
            found = connection.execute(
                select(
                    now.label("now"),
                    exists().where(c.id != node.id, c.alive_until > now).label("others"),
                    or_(
                        exists().where(c.alive_until <= now),
                        self.unknown(),
                    ).label("lapsed"),
                )
            ).one()
        return Beat(moment(found.now), bool(found.others), anew, bool(found.lapsed))

    def _renew(self, row: dict[str, Any], lease: int) -> bool:
        """Write a node's row; return whether there was none."""
        table = self._table
        with self._database.begin() as connection:
            now = self._database.dialect.now(connection)
            values = {**row, "alive_until": now + literal(lease, BigInteger)}
            del values["id"]
            renewed = connection.execute(
                table.update().where(table.c.id == row["id"]).values(values)
            )
            if renewed.rowcount:
                return False
            connection.execute(table.insert().values(id=row["id"], **values))
            return True

    def unknown(self) -> Any:
        """Return the condition that there is a live Run of a node that is not known."""
        runs, nodes = self._database.tables.runs, self._table
        return exists(
            select(runs.c.id)
            .where(text(LIVE), not_waiting_for_a_moment(runs))
            .where(~exists().where(nodes.c.id == runs.c.node))
        )

    def check(self, connection: Connection, lock: bool = False) -> None:
        """See to it that this node is alive, as long as the transaction lasts if it is locked.

        :raises LeaseLostError: if it has joined, and its lease has lapsed
        """
        if self.joined is None:
            return
        if not self._database.dialect.questions.is_alive(connection, self.joined, lock):
            raise LeaseLostError(self.joined)

    def leave(self, node_id: str) -> None:
        with self._database.begin() as connection:
            connection.execute(self._table.delete().where(self._table.c.id == node_id))
        if self.joined == node_id:
            self.joined = None

    def all(self) -> list[Node]:
        with self._database.read() as connection:
            now = self._database.dialect.now(connection)
            statement = select(self._table, now.label("now")).order_by(
                self._table.c.since, self._table.c.id
            )
            return [node_of(row, row.now) for row in connection.execute(statement)]

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


def not_waiting_for_a_moment(runs: Any) -> Any:
    return or_(runs.c.state == "running", runs.c.attention_at.is_(None))
