"""Checks for every change of a record, whatever caused it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.transitions import TABLE, state_of

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Record

ARROWS = {(source, source if row.target == "same" else row.target) for row in TABLE for source in row.sources}


class Ledger:
    """Remembers the owner of each token over the whole life of one record."""

    def __init__(self) -> None:
        self.owners: dict[int, str] = {}
        self.leased: set[int] = set()

    def enter(self, before: Record, after: Record) -> None:
        """Check one change, and remember it."""
        assert (state_of(before), state_of(after)) in ARROWS, "only what the table says"
        assert before.issued <= after.issued <= before.issued + 1, "tokens are given one at a time"
        if after.issued > before.issued:
            assert after.issued not in self.owners, "a token is never given twice"
        holders = {entry.token: entry.attempt.owner for entry in after.queue}
        if after.lease is not None:
            holders[after.lease.token] = after.lease.attempt.owner
        for token, owner in holders.items():
            assert self.owners.setdefault(token, owner) == owner, "a token belongs to one owner for ever"
        assert len(set(holders.values())) == len(holders), "an owner occurs once"
        self._enter_lease(before, after)
        check_order(after)

    def _enter_lease(self, before: Record, after: Record) -> None:
        if after.lease is None:
            return
        if before.lease is None:
            assert after.lease.token not in self.leased, "a token is leased once"
            passed = {entry.token for entry in before.queue if entry.passed}
            assert after.lease.token > max(self.leased, default=0) or after.lease.token in passed, "in order of arrival"
            self.leased.add(after.lease.token)
        elif after.lease.token != before.lease.token:
            moved_back = after.lease.resource_id == after.lease.moved_from == before.lease.moved_from is not None
            assert moved_back or after.lease.moved_from == before.lease.resource_id, (
                "a lease ends before the next begins"
            )
            assert after.lease.token == after.issued > before.issued, "a failover gets a new token"
            self.leased.add(after.lease.token)


def check_order(record: Record) -> None:
    """Check the order of the queue: behind the lease, except after a pass or a move."""
    leased = [record.lease.token] if record.lease else []
    tokens = [
        *(() if record.lease and record.lease.moved_from else leased),
        *(entry.token for entry in record.queue if not entry.passed),
    ]
    assert all(left < right for left, right in pairwise(tokens)), "no owner is before one that came earlier"
    tokens = [entry.token for entry in record.queue]
    assert all(left < right for left, right in pairwise(tokens)), "the queue is in the order of its tokens"
    assert all(token <= record.issued for token in [*leased, *tokens]), "no token is in use before it is issued"
    ended = [(ended.ended_at, ended.acquired_at) for ended in record.history]
    assert all(left <= right for left, right in pairwise(ended)), "history is in the order of the leases"
