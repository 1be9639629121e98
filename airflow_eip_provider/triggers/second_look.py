"""Confirming a failure with a second poll, because one answer of AWS may describe the past."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, SECOND_LOOK_SECONDS

if TYPE_CHECKING:
    from airflow_eip_provider.triggers.verdict import Verdict


class SecondLook:
    """
    Turns a failure into "pending" until it cannot be a stale answer.

    A verdict that has to be confirmed has in its data, as ``unconfirmed``, a text that identifies the failure. The
    failure is confirmed when two polls at least ``SECOND_LOOK_SECONDS`` apart have the same text, and the second one is
    at least ``READS_LAG_SECONDS`` after ``since``. Any earlier answer may be from before ``since``, even if the one
    before it was not, because each may come from another replica. After that time one poll is enough if an earlier one
    showed the binding (``bound``) and this one shows the address on something else (``moved``).

    The state is in memory only: a wait that is restarted counts again from the start.

    :param since: the time of the change that a stale answer may not show yet, in seconds since the epoch.
    """

    def __init__(self, since: float = 0.0) -> None:
        self._since = since
        self._was_bound = False
        self._claim: tuple[str, float] | None = None

    @property
    def is_due(self) -> bool:
        """Whether the last poll returned a failure that another poll has to confirm."""
        return self._claim is not None

    def judge(self, verdict: Verdict, *, now: float) -> Verdict:
        """
        Return the verdict, with "pending" instead of "failed" while the failure is not confirmed.

        :param now: the time of the poll, in seconds since the epoch.
        """
        self._was_bound = self._was_bound or bool(verdict.data.get("bound"))
        claim = verdict.data.get("unconfirmed")
        if verdict.status != "failed" or claim is None:
            self._claim = None
            return verdict
        if self._claim is None or self._claim[0] != claim:
            self._claim = (claim, now)
        # The lock store's reads do not lag.
        may_be_stale = verdict.data.get("gone") != "lease" and now < self._since + READS_LAG_SECONDS
        is_confirmed = now - self._claim[1] >= SECOND_LOOK_SECONDS
        if not may_be_stale and (is_confirmed or (self._was_bound and verdict.data.get("moved"))):
            self._claim = None
            return verdict
        data = {key: value for key, value in verdict.data.items() if key != "gone"}
        return replace(verdict, status="pending", message=f"{verdict.message} (to be confirmed)", data=data)
