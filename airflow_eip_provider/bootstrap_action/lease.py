"""
Lets a cluster use the lock from its own primary node: ``enter``, ``hand-over``, ``undo``.

The owner is the cluster itself, ``ENVIRONMENT/cluster/j-…``. So a bootstrap action that runs again on the same cluster
is the same owner, and a later run is a newer attempt. The program does the same as ``EipAssociateOperator`` for a
cluster that was launched elsewhere: it launches and adopts nothing. No program here ends the lease: it is finished when
its cluster has ended, and the next owner of the address ends it.

Exit status: 0 done; 1 an error; 3 (``enter``) the cluster did not get the address in time; 4 (``enter``) the lock
store, EC2 or EMR did not answer in time.
"""

from __future__ import annotations

import argparse
import json
import logging
import secrets
import sys
from pathlib import Path
from time import gmtime  # noqa: TID251 - only a conversion
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.bootstrap_action.aws_cli import AwsCli
from airflow_eip_provider.exceptions import ElasticIpError, LeaseLostError
from airflow_eip_provider.lease.observation import LeaseRequest
from airflow_eip_provider.lease.owners import attempt_for, cluster_owner, newest_try
from airflow_eip_provider.lease.protocol import Acquired
from airflow_eip_provider.lease.record import LIMITS
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from airflow_eip_provider.lease_client.interface import Undo
from airflow_eip_provider.lease_client.waiting import HANDOVER_PATIENCE_SECONDS, Foreground

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_eip_provider.lease.record import Attempt

log = logging.getLogger(__name__)

DONE, FAILED, BUSY, UNANSWERED = 0, 1, 3, 4


class State:
    """
    What the programs of one run pass to each other in a file.

    ``try_number`` is 0 before the run has read the record; ``token`` is ``None`` before it has the lease.
    """

    def __init__(self, path: Path) -> None:
        stored: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        self._path = path
        self.nonce: str = stored.get("nonce") or secrets.token_hex(8)
        self.try_number: int = stored.get("try_number", 0)
        self.token: int | None = stored.get("token")

    def save(self, *, try_number: int | None = None, token: int | None = None) -> None:
        """Store new values."""
        self.try_number = try_number or self.try_number
        self.token = token or self.token
        values = {"nonce": self.nonce, "try_number": self.try_number, "token": self.token}
        self._path.write_text(json.dumps(values), encoding="utf-8")


class Lease:
    """
    The lease of one address for one cluster.

    :param state: the state of this run of the bootstrap action, for the next programs.
    """

    def __init__(self, options: argparse.Namespace, state: State) -> None:
        self._options = options
        self._state = state
        self._owner = cluster_owner(options.environment, options.cluster_id)
        self._lease_client = StoreLeaseClient(
            options.lock_store,
            allocation_id=options.allocation_id,
            client_for=lambda service, region: AwsCli(service, region=region or options.region),
            who="this bootstrap action",
        )

    def enter(self) -> int:
        """Take the lease, or wait for it in the queue until the time is over."""
        foreground = self._foreground(self._options.wait)
        try:
            if not self._state.try_number:
                record = foreground.persist(self._lease_client.read).record
                self._state.save(try_number=1 + newest_try(record, self._owner))
            lease_request = LeaseRequest(self._attempt, handover_seconds=LIMITS.surface, wants=self._options.cluster_id)
            entered = foreground.acquire(self._lease_client, lease_request)
        except Exception as error:
            if not is_transient(error):
                raise
            log.info("no answer in time: %s", error)
            return UNANSWERED
        if not isinstance(entered, Acquired):
            return BUSY
        self._state.save(token=entered.token)
        log.info("this cluster has the lease of %s, token %s", self._options.allocation_id, entered.token)
        return DONE

    def hand_over(self) -> int:
        """Record that this cluster has the address; this fails when the lease is no longer its own."""
        token, cluster_id = self._state.token, self._options.cluster_id
        if token is None:
            raise LeaseLostError(self._options.allocation_id, problem="it was never acquired")
        self._foreground(HANDOVER_PATIENCE_SECONDS).persist(
            lambda: self._lease_client.hand_over(self._attempt, token=token, resource_id=cluster_id)
        )
        log.info("the lease with token %s is handed over to %s", token, cluster_id)
        return DONE

    def undo(self) -> int:
        """Release the lease or the place in the queue, and undo an association that was made under it."""
        resource_id = self._options.cluster_id if self._options.associated else None
        self._lease_client.undo(Undo(self._attempt, resource_id, token=self._state.token))
        log.info("the lease, or the place in the queue, is released")
        return DONE

    def _foreground(self, seconds: float) -> Foreground:
        return Foreground(deadline=clock.time() + seconds, say=log.info, poll_seconds=self._options.poll)

    @property
    def _attempt(self) -> Attempt:
        return attempt_for(self._owner, try_number=self._state.try_number, nonce=self._state.nonce)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the three programs, and return the exit status."""
    options = _options(arguments)
    handler = logging.StreamHandler(sys.stdout)
    formatter = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    lease = Lease(options, State(options.state))
    program: Callable[[], int] = getattr(lease, options.program.replace("-", "_"))
    try:
        return program()
    except (ElasticIpError, ClientError) as error:
        log.error("error: %s", error)
        return FAILED


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lease")
    parser.add_argument("program", choices=["enter", "hand-over", "undo"])
    for flag in ("--lock-store", "--allocation-id", "--cluster-id", "--environment", "--region"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--state", type=Path, required=True, help="the file that the programs share")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds")
    parser.add_argument("--poll", type=float, default=15.0, help="seconds between two reads")
    parser.add_argument("--associated", action="store_true", help="undo: this run has associated the address")
    return parser.parse_args(arguments)
