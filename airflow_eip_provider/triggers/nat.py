"""Watching a NAT gateway that is being made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.readings.gateways import read_gateway
from airflow_eip_provider.triggers.watch import Verdict, WatchTrigger

if TYPE_CHECKING:
    from airflow_eip_provider.calls import Reading


class NatGatewayTrigger(WatchTrigger):
    """
    Wait until EC2 has made a NAT gateway, or has given it up.

    :param gateway_id: the gateway; EC2's reads may not know a new one yet.
    """

    services = ("ec2",)
    own_fields = ("gateway_id",)

    def __init__(self, *, gateway_id: str, **watch: Any) -> None:
        super().__init__(**watch)
        self.gateway_id = gateway_id

    def look(self) -> Reading[Verdict]:
        """Look at the gateway."""
        return read_gateway_made(self.gateway_id)


def read_gateway_made(gateway_id: str) -> Reading[Verdict]:
    """Judge whether a NAT gateway is not pending any more; whether it is of use is for others to judge."""
    gateway = yield from read_gateway(gateway_id)
    state = gateway.state if gateway else "not visible yet"
    problem = f": {gateway.problem}" if gateway and gateway.problem else ""
    is_pending = gateway is None or gateway.state == "pending"
    return Verdict(
        "pending" if is_pending else "done", f"NAT gateway {gateway_id} is {state}{problem}", {"state": state}
    )
