"""Connections to a database, each with the verdict whether whoever had the address made them."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_eip_provider.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_eip_provider.audit.flow_logs import Flow
    from airflow_eip_provider.audit.tenancies import Tenancy

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

        :raises InvalidInputError: for a port that is none, and for a host that does not resolve.
        """
        host, port = text, str(_TDS)
        if text.startswith("["):
            host, _, rest = text[1:].partition("]")
            port = rest.removeprefix(":") or port
        elif text.count(":") == 1:
            host, _, port = text.partition(":")
        if not port.isdecimal() or not 0 < int(port) <= _HIGHEST_PORT:
            raise _wrong(text, f"{port!r} is no port", "write HOST:PORT, e.g. server.database.windows.net:1433")
        networks: tuple[Network, ...]
        try:
            networks = (ipaddress.ip_network(host, strict=False),)
        except ValueError:
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
    What one interface has sent to one address of a database, in one tenancy or outside all of them.

    :param verdict: "tenancy", or "stranger": not by whoever had the address.
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


def judge(flows: Iterable[Flow], databases: Sequence[Database], tenancies: Sequence[Tenancy]) -> list[Connections]:
    """Return who connected to the databases, strangers first."""
    found: dict[tuple[Any, ...], Connections] = {}
    for flow in flows:
        database = next((database for database in databases if database.serves(flow)), None)
        if database is None:
            continue
        verdict, why, tenancy = _verdict(flow, tenancies)
        key = (verdict, why, flow.interface_id, flow.source, flow.destination, tenancy and tenancy.name)
        if key not in found:
            found[key] = Connections(
                verdict,
                why,
                flow.interface_id,
                flow.instance_id,
                flow.source,
                flow.destination,
                database.name,
                tenancy.name if tenancy else None,
                tenancy.token if tenancy else None,
                first=flow.period.begins_at,
                last=flow.period.begins_at,
            )
        found[key].add(flow)
    return sorted(found.values(), key=lambda connections: (connections.verdict, connections.first))


def _verdict(flow: Flow, tenancies: Sequence[Tenancy]) -> tuple[str, str, Tenancy | None]:
    then = [tenancy for tenancy in tenancies if tenancy.period.overlaps(flow.period)]
    for tenancy in then:
        if tenancy.has(flow):
            return "tenancy", "it had the address then", tenancy
    for tenancy in then:
        if tenancy.has_beside(flow):
            return "stranger", "a node of the same cluster without the address", tenancy
    for tenancy in tenancies:
        if tenancy.has(flow):
            return "stranger", f"its tenancy was {_words(tenancy)}", tenancy
    return "stranger", "not of any tenancy's cluster" if then else "nobody had the address then", None


def _words(tenancy: Tenancy) -> str:
    return f"from {said(tenancy.period.begins_at)} to {said(tenancy.period.ends_at)}"


def said(seconds: float) -> str:
    """Return a time for people and programs."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _wrong(text: str, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"reading --database '{text}'", problem=problem, remedy=remedy)
