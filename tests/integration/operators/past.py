"""Answers of AWS that come from the past, for the reads of the provider alone: what is true shows in the local EMR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws import addresses, clusters, egress
from airflow_eip_provider.aws.addresses import Address, read_address
from airflow_eip_provider.aws.clusters import read_all_steps

if TYPE_CHECKING:
    import pytest


class Past:
    """Reads that lag, by the local EMR's clock."""

    def __init__(self, aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._aws = aws
        self._addresses: list[tuple[float, float, Address | None]] = []
        self._hidden_until = 0.0
        self.stale_answers = 0
        for module in (egress, addresses):
            monkeypatch.setattr(module, "read_address", self._read_address)
        monkeypatch.setattr(clusters, "read_all_steps", self._read_all_steps)

    def show_address(self, was: Address | None, *, seconds: float, after: float = 0.0) -> None:
        """
        Let DescribeAddresses answer from the past for some seconds.

        :param was: where the address was then.
        :param after: from so many seconds from now on.
        """
        start = self._now() + after
        self._addresses.append((start, start + seconds, was))

    def hide_steps(self, *, seconds: float) -> None:
        """Let ListSteps show no step for some seconds."""
        self._hidden_until = self._now() + seconds

    def _now(self) -> float:
        return float(self._aws.clock.now().timestamp())

    def _read_address(self, ec2: Any, allocation_id: str) -> Any:
        true = read_address(ec2, allocation_id)
        for start, end, was in self._addresses:
            if start <= self._now() < end:
                self.stale_answers += 1
                return was
        return true

    def _read_all_steps(self, emr: Any, job_flow_id: str, **which: Any) -> Any:
        found = read_all_steps(emr, job_flow_id, **which)
        if self._now() >= self._hidden_until:
            return found
        self.stale_answers += 1
        return []
