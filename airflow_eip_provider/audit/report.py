"""Connections to a database, each with the verdict whether whoever had the address made them."""

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
# To which Azure SQL's Redirect policy sends clients after their login (Azure SQL, "Connectivity architecture").
REDIRECT_PORTS = range(11000, 12000)
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Database:
    """
    A database as the network sees it.

    :param networks: its addresses; a host's are those of today.
    """

    name: str
    networks: tuple[Network, ...]
    port: int

    @classmethod
    def parse(cls, text: str) -> Database:
        """
        Read ``HOST``, an address or a CIDR block, each with ``:PORT`` or without; IPv6 with one is ``[ADDRESS]:PORT``.

        :raises UsageError: for a port or a block that is none.
        :raises InvalidInputError: for a host that does not resolve.
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
                problem=f"{port!r} is no port",
                remedy="write HOST:PORT, e.g. server.database.windows.net:1433",
            )
        networks: tuple[Network, ...]
        try:
            networks = (ipaddress.ip_network(host, strict=False),)
        except ValueError as error:
            if "/" in host or not host:
                remedy = "give a host, an address or a block like 203.0.113.0/24"
                raise UsageError(f"reading --database '{text}'", problem=str(error), remedy=remedy) from error
            networks = _resolved(text, host)
        return cls(text, networks, int(port))

    def serves(self, flow: Flow) -> bool:
        """Whether a flow goes to it."""
        if flow.port != self.port and flow.port not in REDIRECT_PORTS:
            return False
        address = ipaddress.ip_address(flow.destination)
        return any(address in network for network in self.networks)


def _resolved(text: str, host: str) -> tuple[Network, ...]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _wrong(text, f"'{host}' does not resolve: {error}", "correct it, or name its addresses") from error
    return tuple(ipaddress.ip_network(address) for address in sorted({str(entry[4][0]) for entry in found}))


@dataclass(slots=True)
class Connections:
    """
    What one interface has sent to one address of a database, in one lease period or outside all of them.

    :param verdict: "tenancy" (the sender had the address: the word is in JSON that people keep), or "stranger".
    :param tenancy: the name of the lease period.
    :param opened: in how many flow records a connection was opened.
    :param first: seconds since the epoch; ``last``, too.
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
        """Count a flow."""
        self.records += 1
        self.opened += flow.opened
        self.rejected += flow.rejected
        self.first = min(self.first, flow.period.begins_at)
        self.last = max(self.last, flow.period.ends_at)

    def facts(self) -> dict[str, Any]:
        """Return the same as plain JSON."""
        times = {"first": said(self.first), "last": said(self.last)}
        return {name: getattr(self, name) for name in self.__slots__} | times


def judge(
    flows: Iterable[Flow], databases: Sequence[Database], lease_periods: Sequence[LeasePeriod]
) -> list[Connections]:
    """Return who connected to the databases, strangers first."""
    served = [(flow, database) for flow in flows for database in _serving(flow, databases)]
    judging = _Judge([flow for flow, _ in served], lease_periods)
    found: dict[tuple[Any, ...], Connections] = {}
    for flow, database in served:
        verdict, why, lease_period = judging.verdict(flow)
        key = (verdict, why, flow.interface_id, flow.source, flow.destination, lease_period and lease_period.name)
        if key not in found:
            found[key] = Connections(
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
        found[key].add(flow)
    return sorted(found.values(), key=lambda connections: (connections.verdict, connections.first))


def _serving(flow: Flow, databases: Sequence[Database]) -> list[Database]:
    return [database for database in databases if database.serves(flow)][:1]


class _Judge:
    """
    Judges flows by the lease periods, and by what other flows show of their way.

    The same packets are in the records of the node that sent them, and of the NAT gateway's interface: there with the
    node's address as ``pkt-srcaddr``, and once more with the gateway's own (Amazon VPC User Guide, "Flow log record
    examples").

    :param flows: all to the databases.
    """

    def __init__(self, flows: Sequence[Flow], lease_periods: Sequence[LeasePeriod]) -> None:
        self._guessed: set[str] = set()
        self._lease_periods = [self._with_gateway(lease_period, flows) for lease_period in lease_periods]
        self._passed = [
            {(flow.source, flow.destination) for flow in flows if _then(lease_period, flow) and lease_period.has(flow)}
            for lease_period in self._lease_periods
        ]

    def _with_gateway(self, lease_period: LeasePeriod, flows: Sequence[Flow]) -> LeasePeriod:
        """Find the interface of a gateway that EC2 has forgotten: it forwarded the packets of the cluster's nodes."""
        if not lease_period.behind_gateway or lease_period.resource_ids:
            return lease_period
        seen = {
            f.interface_id for f in flows if _then(lease_period, f) and f.forwarded and f.source in lease_period.others
        }
        self._guessed |= seen
        return replace(lease_period, resource_ids=frozenset(seen))

    def verdict(self, flow: Flow) -> tuple[str, str, LeasePeriod | None]:
        """Return "tenancy" or "stranger", why, and which lease period it is about."""
        then = [(t, passed) for t, passed in zip(self._lease_periods, self._passed, strict=True) if _then(t, flow)]
        through = [t for t, passed in then if t.has(flow) or (flow.source, flow.destination) in passed]
        for lease_period in through:
            if not _is_anothers(lease_period, flow):
                return "tenancy", self._how(lease_period, flow), lease_period
        if through:
            return "stranger", "it left through the cluster's NAT gateway, and is no node of its cluster", through[0]
        for lease_period, _ in then:
            if lease_period.has_beside(flow):
                past = "which was not seen at its NAT gateway" if lease_period.behind_gateway else "without the address"
                return "stranger", f"a node of the same cluster {past}", lease_period
        for lease_period in self._lease_periods:
            if lease_period.has(flow):
                return "stranger", f"its lease was {_words(lease_period)}", lease_period
        return "stranger", "not of the cluster of any lease" if then else "nobody had the address then", None

    def _how(self, lease_period: LeasePeriod, flow: Flow) -> str:
        if not lease_period.has(flow):
            return "on its way to the interface that had the address then"
        if not lease_period.behind_gateway:
            return "it had the address then"
        if flow.interface_id in self._guessed:
            return "it forwarded the cluster's packets then, as a NAT gateway does that EC2 has forgotten"
        return "the NAT gateway that had the address then"


def _then(lease_period: LeasePeriod, flow: Flow) -> bool:
    return lease_period.period.overlaps(flow.period)


def _is_anothers(lease_period: LeasePeriod, flow: Flow) -> bool:
    """Whether a NAT gateway forwards what no node of the lease's cluster has sent."""
    if not lease_period.behind_gateway or not lease_period.others or flow.source in lease_period.others:
        return False
    return flow.forwarded or not lease_period.has(flow)


def _words(lease_period: LeasePeriod) -> str:
    return f"from {said(lease_period.period.begins_at)} to {said(lease_period.period.ends_at)}"


def said(seconds: float) -> str:
    """Return a time for people and programs."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _wrong(text: str, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"reading --database '{text}'", problem=problem, remedy=remedy)
