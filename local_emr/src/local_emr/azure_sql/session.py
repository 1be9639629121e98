"""A client's session: runs statements in sequence and holds the transaction."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from local_emr.azure_sql.results import Column, SqlError, Table, Transaction
from local_emr.azure_sql.translation import parse, translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local_emr.azure_sql.translation import Node

VERSION = "Microsoft SQL Azure (RTM) - 12.0.2000.8"
_SPIDS = itertools.count(51)  # up to 50 are reserved for the system
_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge)
_CHANGES = (*_WRITES, exp.Create, exp.Drop, exp.Alter, exp.TruncateTable)


class Session:
    """
    Runs the batches of one client; used by one thread at a time.

    Reads see the data committed when they start, as with Azure SQL's READ COMMITTED SNAPSHOT. A transaction starts in
    DuckDB with its first change; from then on it sees a fixed snapshot and its own changes, and any error makes it
    uncommittable, as with XACT_ABORT.

    :param cursor: its own DuckDB connection.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection, *, database: str, user: str) -> None:
        self._duck = cursor
        self._database = database
        self._user = user
        self._spid = next(_SPIDS)
        self._depth = 0  # nested BEGIN TRANSACTION, as @@TRANCOUNT counts them
        self._has_changes = False
        self._is_doomed = False
        self._affected = 0

    @property
    def database(self) -> str:
        """The name of the database."""
        return self._database

    def execute(self, sql: str, *, parameters: Mapping[str, Any] | None = None) -> Iterator[Table]:
        """
        Run a batch and yield the result of each statement.

        :param parameters: values for ``@name`` in the statements, by name in lower case.
        :raises SqlError: as SQL Server words it.
        """
        for statement in parse(sql):
            table = self._run(statement, parameters or {})
            self._affected = table.affected
            yield table

    def begin(self) -> Table:
        """Begin a transaction, which may be nested."""
        self._depth += 1
        return Table(transaction=Transaction.BEGUN if self._depth == 1 else None)

    def commit(self) -> Table:
        """
        Commit; only the outermost of nested transactions has an effect.

        :raises SqlError: when there is none, or an error made it uncommittable.
        """
        if not self._depth:
            raise SqlError(3902, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        if self._is_doomed:
            raise self._doomed()
        if self._depth > 1:
            self._depth -= 1
            return Table()
        try:
            self._end("COMMIT")
        except duckdb.Error as error:
            raise SqlError(3960, f"Snapshot isolation transaction aborted due to update conflict: {error}") from error
        return Table(transaction=Transaction.COMMITTED)

    def rollback(self) -> Table:
        """
        Roll back all nested transactions.

        :raises SqlError: when there is none.
        """
        if not self._depth:
            raise SqlError(3903, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        self._end("ROLLBACK")
        return Table(transaction=Transaction.ROLLED_BACK)

    def reset(self) -> None:
        """Reset for the next user of a pooled connection; uncommitted changes are rolled back."""
        self._end("ROLLBACK")

    def close(self) -> None:
        """End the session; uncommitted changes are rolled back."""
        self._duck.close()

    def _run(self, statement: Node, parameters: Mapping[str, Any]) -> Table:
        match statement:
            case exp.Transaction():
                return self.begin()
            case exp.Commit():
                return self.commit()
            case exp.Rollback():
                return self.rollback()
            case exp.Use():
                return self._use(statement)
        if not isinstance(statement, (*_CHANGES, exp.Query)):
            word = statement.name if isinstance(statement, exp.Command) else statement.key.removesuffix("block")
            raise SqlError.unsupported(f"{word.upper()} statement")
        if self._is_doomed:
            raise self._doomed()
        sql, used = translate(statement, names=self._names(), parameters=parameters)
        changes = isinstance(statement, _CHANGES) or statement.args.get("into") is not None
        begins = changes and self._depth > 0 and not self._has_changes
        try:
            if begins:
                self._duck.execute("BEGIN")
            table = self._ask(statement, sql, used)
        except duckdb.Error as error:
            if begins:
                self._duck.execute("ROLLBACK")
            self._is_doomed = self._has_changes
            raise SqlError.from_duckdb(error, statement=statement) from error
        self._has_changes |= begins
        return table

    def _ask(self, statement: Node, sql: str, parameters: dict[str, Any]) -> Table:
        if isinstance(statement, exp.Create):
            for schema in {table.db for table in statement.find_all(exp.Table) if table.db}:
                self._duck.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        cursor = self._duck.execute(sql, parameters)
        rows = cursor.fetchall()
        if isinstance(statement, _WRITES):
            return Table(affected=int(rows[0][0]) if rows else 0)
        if not isinstance(statement, exp.Query) or statement.args.get("into"):
            return Table()
        columns = [Column(str(name), str(kind).upper()) for name, kind, *_ in cursor.description or ()]
        return Table(columns, rows, len(rows))

    def _end(self, how: str) -> None:
        had_changes, self._depth, self._has_changes, self._is_doomed = self._has_changes, 0, False, False
        if had_changes:
            self._duck.execute(how)

    def _use(self, statement: exp.Use) -> Table:
        if statement.this.name.lower() != self._database.lower():
            raise SqlError(40508, "USE statement is not supported to switch between databases. Use a new connection.")
        return Table()

    def _doomed(self) -> SqlError:
        return SqlError(3930, "The current transaction cannot be committed. Roll back the transaction.")

    def _names(self) -> dict[str, Any]:
        return {
            "@@VERSION": VERSION,
            "@@TRANCOUNT": self._depth,
            "@@SPID": self._spid,
            "@@ROWCOUNT": self._affected,
            "DB_NAME": self._database,
            "USER_NAME": self._user,
        }
