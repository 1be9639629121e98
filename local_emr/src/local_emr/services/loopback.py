"""Loopback addresses of this local EMR, for its nodes and load balancers.

Linux has all of 127.0.0.0/8 on its loopback interface, so these addresses need no setup and no privileges.
"""

from __future__ import annotations

import random
import socket
import threading

_NETWORKS = range(64, 255)
_HOSTS = range(1, 255)


class LoopbackNetwork:
    """
    One of the networks 127.N.0.0/16, used by no other local EMR on this machine.

    It is reserved with the first address, by an abstract socket (unix(7)), which is released when the process ends.
    """

    def __init__(self) -> None:
        self._claim: socket.socket | None = None
        self._number = 0
        self._taken = 0
        self._lock = threading.Lock()

    def take(self) -> str:
        """
        Return the next address; after 65,000 they repeat.

        :raises OSError: when all networks are in use.
        """
        with self._lock:
            if self._claim is None:
                self._claim, self._number = _claimed()
            high, low = divmod(self._taken, len(_HOSTS))
            self._taken = (self._taken + 1) % (len(_HOSTS) * 256)
            return f"127.{self._number}.{high}.{_HOSTS[low]}"

    def has(self, address: str) -> bool:
        """Return whether an address is in this network."""
        return self._claim is not None and address.startswith(f"127.{self._number}.")

    def close(self) -> None:
        """Release the network."""
        with self._lock:
            if self._claim is not None:
                self._claim.close()
                self._claim = None


def _claimed() -> tuple[socket.socket, int]:
    numbers = list(_NETWORKS)
    random.shuffle(numbers)  # each process starts at a different network
    for number in numbers:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0local-emr-network-{number}")
        except OSError:
            claim.close()
        else:
            return claim, number
    raise OSError("every loopback network 127.64.0.0/16 to 127.254.0.0/16 is in use by a local EMR on this machine")
