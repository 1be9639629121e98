"""Judges whether the connections to a database came from the holder of the address."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_eip_provider.exceptions import InvalidInputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_eip_provider.audit.flow_logs import Flow
    from airflow_eip_provider.audit.lease_periods import LeasePeriod

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_TDS = 1433
# The ports to which Azure SQL's Redirect policy sends clients after login (Azure SQL, "Connectivity architecture").
REDIRECT_PORTS = range(11000, 12000)
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Database:
    """
    A database server.

    :param networks: its addresses; for a host name, its present ones.
    """

    name: str
    networks: tuple[Network, ...]
    port: int

    @classmethod
    def parse(cls, text: str) -> Database:
        """
        Parse a host name, an address or a CIDR block, with or without ``:PORT`` (``[ADDRESS]:PORT`` for IPv6).

        :raises UsageError: if the port or the block is not valid.
        :raises InvalidInputError: if the host name cannot be resolved.
        """
        host, port = text, str(_TDS)
        if text.startswith("["):
            host, _, rest = text[1:].partition("]")
            port = rest.removeprefix(":") or port
        elif text.count(":") == 1:
            host, _, port = text.partition(":")
        if not port.isdecimal() or not 0 < int(port) <= _HIGHEST_PORT:
            raise UsageError(
                f"reading --database '{text}'",
                problem=f"{port!r} is not a port",
                remedy="write HOST:PORT, e.g. server.database.windows.net:1433",
            )
        networks: tuple[Network, ...]
        try:
            networks = (ipaddress.ip_network(host, strict=False),)
        except ValueError as error:
            if "/" in host or not host:
                remedy = "give a host name, an address or a CIDR block such as 203.0.113.0/24"
                raise UsageError(f"reading --database '{text}'", problem=str(error), remedy=remedy) from error
            networks = _resolve(text, host)
        return cls(text, networks, int(port))

    def serves(self, flow: Flow) -> bool:
        """Whether a flow goes to this database."""
        if flow.port != self.port and flow.port not in REDIRECT_PORTS:
            return False
        address = ipaddress.ip_address(flow.destination)
        return any(address in network for network in self.networks)


def _resolve(text: str, host: str) -> tuple[Network, ...]:
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        problem, remedy = f"'{host}' does not resolve: {error}", "correct it, or give its addresses"
        raise InvalidInputError(f"reading --database '{text}'", problem=problem, remedy=remedy) from error
    return tuple(ipaddress.ip_network(address) for address in sorted({str(entry[4][0]) for entry in entries}))


@dataclass(slots=True)
class Connections:
    """
    The connections from one interface to one address of a database, within one lease period or outside of all.

    :param verdict: "tenancy" (the sender had the address; the word is part of the JSON format), or "stranger".
    :param tenancy: the name of the lease period.
    :param opened: the number of flow records in which a connection was opened.
    :param first: in seconds since the epoch, like ``last``.
    """

    verdict: str
    why: str
    interface_id: str
    instance_id: str | None
    source: str
    destination: str
    database: str
    tenancy: str | None
    token: int | None
    first: float
    last: float
    records: int = 0
    opened: int = 0
    rejected: int = 0

    def add(self, flow: Flow) -> None:
        """Add a flow."""
        self.records += 1
        self.opened += flow.opened
        self.rejected += flow.rejected
        self.first = min(self.first, flow.period.begins_at)
        self.last = max(self.last, flow.period.ends_at)

    def facts(self) -> dict[str, Any]:
        """Return the connections as plain JSON."""
        times = {"first": iso_time(self.first), "last": iso_time(self.last)}
        return {name: getattr(self, name) for name in self.__slots__} | times


def judge(
    flows: Iterable[Flow], databases: Sequence[Database], lease_periods: Sequence[LeasePeriod]
) -> list[Connections]:
    """Return the connections to the databases, strangers first."""
    relevant = [(flow, database) for flow in flows if (database := _database_of(flow, databases))]
    judging = _Judge([flow for flow, _ in relevant], lease_periods)
    connections: dict[tuple[Any, ...], Connections] = {}
    for flow, database in relevant:
        verdict, why, lease_period = judging.verdict(flow)
        sender = (flow.interface_id, flow.source)
        key = (verdict, why, *sender, flow.destination, database.name, lease_period and lease_period.name)
        if key not in connections:
            connections[key] = Connections(
                verdict,
                why,
                flow.interface_id,
                flow.instance_id,
                flow.source,
                flow.destination,
                database.name,
                lease_period.name if lease_period else None,
                lease_period.token if lease_period else None,
                first=flow.period.begins_at,
                last=flow.period.begins_at,
            )
        connections[key].add(flow)
    return sorted(connections.values(), key=lambda each: (each.verdict, each.first))


def _database_of(flow: Flow, databases: Sequence[Database]) -> Database | None:
    return next((database for database in databases if database.serves(flow)), None)


class _Judge:
    """
    Judges flows by the lease periods, and by other flows with the same packets.

    Packets are in the records of the node that sent them and of the NAT gateway's interface: there with the node's
    address as ``pkt-srcaddr``, and again with the address of the gateway (Amazon VPC User Guide, "Flow log record
    examples").

    :param flows: all flows to the databases.
    """

    def __init__(self, flows: Sequence[Flow], lease_periods: Sequence[LeasePeriod]) -> None:
        self._guessed: set[str] = set()
        self._lease_periods = [self._with_gateway(lease_period, flows) for lease_period in lease_periods]
        self._passed = [
            {(f.source, f.destination) for f in flows if _is_during(lease_period, f) and lease_period.has(f)}
            for lease_period in self._lease_periods
        ]

    def _with_gateway(self, lease_period: LeasePeriod, flows: Sequence[Flow]) -> LeasePeriod:
        """Add the interface of a gateway that EC2 no longer shows: it forwarded packets of the cluster's nodes."""
        if not lease_period.behind_gateway or lease_period.resource_ids:
            return lease_period
        forwarding = frozenset(
            f.interface_id
            for f in flows
            if f.forwarded and f.source in lease_period.others and _is_during(lease_period, f)
        )
        self._guessed |= forwarding
        return replace(lease_period, resource_ids=forwarding)

    def verdict(self, flow: Flow) -> tuple[str, str, LeasePeriod | None]:
        """Return "tenancy" or "stranger", the reason, and the lease period that it concerns."""
        current = [
            (lease_period, passed)
            for lease_period, passed in zip(self._lease_periods, self._passed, strict=True)
            if _is_during(lease_period, flow)
        ]
        through = [
            lease_period
            for lease_period, passed in current
            if lease_period.has(flow) or (flow.source, flow.destination) in passed
        ]
        for lease_period in through:
            if not _is_foreign(lease_period, flow):
                return "tenancy", self._reason(lease_period, flow), lease_period
        if through:
            return "stranger", "it used the cluster's NAT gateway, but is not a node of the cluster", through[0]
        for lease_period, _ in current:
            if lease_period.has_beside(flow):
                path = "not through its NAT gateway" if lease_period.behind_gateway else "without the address"
                return "stranger", f"a node of the same cluster, {path}", lease_period
        for lease_period in self._lease_periods:
            if lease_period.has(flow):
                begin, end = iso_time(lease_period.period.begins_at), iso_time(lease_period.period.ends_at)
                return "stranger", f"its lease was from {begin} to {end}", lease_period
        return "stranger", "not in the cluster of any lease" if current else "no lease at that time", None

    def _reason(self, lease_period: LeasePeriod, flow: Flow) -> str:
        if not lease_period.has(flow):
            return "on the way to the interface that had the address at that time"
        if not lease_period.behind_gateway:
            return "it had the address at that time"
        if flow.interface_id in self._guessed:
            return "it forwarded the cluster's packets at that time, like a NAT gateway that EC2 no longer shows"
        return "the NAT gateway that had the address at that time"


def _is_during(lease_period: LeasePeriod, flow: Flow) -> bool:
    return lease_period.period.overlaps(flow.period)


def _is_foreign(lease_period: LeasePeriod, flow: Flow) -> bool:
    """Whether the NAT gateway of a cluster forwards packets that none of its nodes has sent."""
    if not lease_period.behind_gateway or not lease_period.others or flow.source in lease_period.others:
        return False
    return flow.forwarded or not lease_period.has(flow)


def iso_time(seconds: float) -> str:
    """Return a time in ISO format."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
