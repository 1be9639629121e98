"""Waiting for a NAT gateway that is being created."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from airflow_eip_provider.triggers.observed import Observed


@dataclass(kw_only=True, eq=False, repr=False)
class NatGatewayTrigger(WatchTrigger):
    """
    Wait until EC2 has created a NAT gateway, or has failed to.

    :param gateway_id: the gateway; EC2's reads may not show a new one yet.
    """

    gateway_id: str

    def judge(self, observed: Observed) -> Verdict:
        """Judge whether the gateway is still pending; the operator checks its state afterwards."""
        gateway = observed.gateway(self.gateway_id)
        state = gateway.state if gateway else "not visible yet"
        problem = f": {gateway.problem}" if gateway and gateway.problem else ""
        is_pending = gateway is None or gateway.state == "pending"
        message = f"NAT gateway {self.gateway_id} is {state}{problem}"
        return Verdict("pending" if is_pending else "done", message, {"state": state})
