"""Azure SQL's server-level IP firewall rules."""

from __future__ import annotations

import ipaddress
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

AZURE_SERVICES = "0.0.0.0"  # a rule from and to this address admits Azure services only


@dataclass(frozen=True, slots=True)
class Rule:
    """
    A range of addresses that are admitted.

    :raises ValueError: when an address is not an IPv4 address, or the range ends before it starts.
    """

    name: str
    start_ip_address: str
    end_ip_address: str

    def __post_init__(self) -> None:
        start, end = ipaddress.IPv4Address(self.start_ip_address), ipaddress.IPv4Address(self.end_ip_address)
        if start > end:
            raise ValueError(f"firewall rule {self.name!r}: {start} comes after {end}; swap them")

    def admits(self, ip: str) -> bool:
        """Return whether the rule admits an address."""
        if self.start_ip_address == AZURE_SERVICES == self.end_ip_address:
            return False
        address = ipaddress.IPv4Address(ip)
        return ipaddress.IPv4Address(self.start_ip_address) <= address <= ipaddress.IPv4Address(self.end_ip_address)


class Firewall:
    """
    Admits registered addresses; all others get error 40615.

    :param on_change: called on each change, for the event log.
    """

    def __init__(self, *, on_change: Callable[..., Any]) -> None:
        self._rules: dict[str, Rule] = {}
        self._waiting: set[str] = set()
        self._lock = threading.Lock()
        self._on_change = on_change

    def rules(self) -> list[Rule]:
        """Return the rules, by name."""
        with self._lock:
            return [self._rules[name] for name in sorted(self._rules)]

    def put(self, rule: Rule, *, in_force: bool = True) -> None:
        """
        Add a rule, or replace the one with the same name.

        :param in_force: whether it takes effect now, or only when :meth:`enforce` is called.
        """
        with self._lock:
            self._rules[rule.name] = rule
            self._waiting.discard(rule.name)
            if not in_force:
                self._waiting.add(rule.name)
        self._on_change("firewall", change="put", name=rule.name, start=rule.start_ip_address, end=rule.end_ip_address)

    def enforce(self, rule: Rule) -> None:
        """Put a rule into effect, unless it has been replaced or removed since."""
        with self._lock:
            came = self._rules.get(rule.name) == rule and rule.name in self._waiting
            if came:
                self._waiting.discard(rule.name)
        if came:
            self._on_change("firewall", change="in force", name=rule.name)

    def delete(self, name: str) -> bool:
        """Remove a rule; return whether it existed."""
        with self._lock:
            found = self._rules.pop(name, None)
            self._waiting.discard(name)
        if found is not None:
            self._on_change("firewall", change="deleted", name=name)
        return found is not None

    def admits(self, ip: str) -> bool:
        """Return whether a rule in effect admits an address."""
        with self._lock:
            return any(rule.admits(ip) for name, rule in self._rules.items() if name not in self._waiting)


def refusal(*, server: str, ip: str) -> str:
    """Return Azure's text of error 40615 (Azure SQL documentation, "Troubleshoot connectivity issues")."""
    return (
        f"Cannot open server '{server}' requested by the login. Client with IP address '{ip}' is not allowed to access "
        "the server.  To enable access, use the Azure Management Portal or run sp_set_firewall_rule on the master "
        "database to create a firewall rule for this IP address or address range.  It may take up to five minutes for "
        "this change to take effect."
    )
