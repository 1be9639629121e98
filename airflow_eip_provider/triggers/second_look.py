"""A second look before a failure: one answer of AWS may describe the past."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, SECOND_LOOK_SECONDS

if TYPE_CHECKING:
    from airflow_eip_provider.triggers.verdict import Verdict


class SecondLook:
    """
    Let a failure count only when it cannot be a stale answer.

    A verdict says in its data what the answer claims, as ``unconfirmed``: text that two looks can be compared by. Such
    a failure counts when two looks at least ``SECOND_LOOK_SECONDS`` apart say the same, the second of them not within
    ``READS_LAG_SECONDS`` of the beginning: until then any answer may be from before it, also after one that was not,
    because each may come from another replica. After that, one look is enough if an earlier one showed the binding
    (``bound``) and this one shows the address on something else (``moved``).

    Kept in memory: a watch that is restarted begins to count again.

    :param since: when that began which a stale answer may not show yet, in seconds since the epoch.
    """

    def __init__(self, since: float = 0.0) -> None:
        self._since = since
        self._seen_bound = False
        self._claim: tuple[str, float] | None = None

    @property
    def is_due(self) -> bool:
        """Whether the last look showed a failure that another look has to confirm."""
        return self._claim is not None

    def judge(self, verdict: Verdict, *, now: float) -> Verdict:
        """
        Return the verdict, "pending" instead of "failed" as long as that has to be confirmed.

        :param now: when the look was made, in seconds since the epoch.
        """
        self._seen_bound = self._seen_bound or bool(verdict.data.get("bound"))
        claim = verdict.data.get("unconfirmed")
        if verdict.status != "failed" or claim is None:
            self._claim = None
            return verdict
        if self._claim is None or self._claim[0] != claim:
            self._claim = (claim, now)
        # The lock store's reads do not lag.
        may_be_past = verdict.data.get("gone") != "lease" and now < self._since + READS_LAG_SECONDS
        agreed = now - self._claim[1] >= SECOND_LOOK_SECONDS
        if not may_be_past and (agreed or (self._seen_bound and verdict.data.get("moved"))):
            self._claim = None
            return verdict
        open_facts = {key: value for key, value in verdict.data.items() if key != "gone"}
        return replace(verdict, status="pending", message=f"{verdict.message} (to be confirmed)", data=open_facts)
