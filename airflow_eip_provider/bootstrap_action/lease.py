"""
The lock, for a cluster that takes part in it from its own primary node: ``enter``, ``hand-over``, ``undo``.

Its owner is the cluster itself, ``ENVIRONMENT/cluster/j-…``, so a bootstrap action that is run again on the same
cluster is the same owner, and a later run is a newer attempt. It does what ``EipAssociateOperator`` does for a
cluster that was made elsewhere; there is nothing to launch and nothing to adopt. No program here ends the lease: it is
dead when its cluster has ended, and whoever wants the address next ends it.

Exit status: 0 done; 1 an error; 3 (``enter``) the address was not this cluster's in time.
"""

from __future__ import annotations

import argparse
import json
import logging
import secrets
import sys
from pathlib import Path
from time import gmtime  # noqa: TID251 - it only converts
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

DONE, FAILED, BUSY = 0, 1, 3


class State:
    """
    What the programs of one run tell each other, in a file.

    ``try_number`` is 0 before the run has looked at the record; ``token`` is ``None`` before the lease is its own.
    """

    def __init__(self, path: Path) -> None:
        known: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        self._path = path
        self.nonce: str = known.get("nonce") or secrets.token_hex(8)
        self.try_number: int = known.get("try_number", 0)
        self.token: int | None = known.get("token")

    def keep(self, *, try_number: int | None = None, token: int | None = None) -> None:
        """Remember what has become known."""
        self.try_number = try_number or self.try_number
        self.token = token or self.token
        known = {"nonce": self.nonce, "try_number": self.try_number, "token": self.token}
        self._path.write_text(json.dumps(known), encoding="utf-8")


class Lease:
    """
    One cluster's part in the lock of one address.

    :param state: of this run of the bootstrap action, for the programs that follow.
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
        """Take the lease, or wait for it in the queue until the time is up."""
        foreground = self._foreground(self._options.wait)
        try:
            if not self._state.try_number:
                record = foreground.persist(self._lease_client.read).record
                self._state.keep(try_number=1 + newest_try(record, self._owner))
            lease_request = LeaseRequest(self._attempt, handover_seconds=LIMITS.surface, wants=self._options.cluster_id)
            entered = foreground.acquire(self._lease_client, lease_request)
        except Exception as error:
            if not is_transient(error):
                raise
            log.info("no answer in time: %s", error)
            return BUSY
        if not isinstance(entered, Acquired):
            return BUSY
        self._state.keep(token=entered.token)
        log.info("the lease of %s is this cluster's, token %s", self._options.allocation_id, entered.token)
        return DONE

    def hand_over(self) -> int:
        """Record that this cluster carries the address: the last look whether the lease is still its own."""
        token, cluster_id = self._state.token, self._options.cluster_id
        if token is None:
            raise LeaseLostError(self._options.allocation_id, problem="it was never acquired")
        self._foreground(HANDOVER_PATIENCE_SECONDS).persist(
            lambda: self._lease_client.hand_over(self._attempt, token=token, resource_id=cluster_id)
        )
        log.info("the lease with token %s is handed over to %s", token, cluster_id)
        return DONE

    def undo(self) -> int:
        """Give the lease or the place in the queue back, and an association that was made under it."""
        resource_id = self._options.cluster_id if self._options.associated else None
        self._lease_client.undo(Undo(self._attempt, resource_id, token=self._state.token))
        log.info("the lease, or the place in the queue, is given back")
        return DONE

    def _foreground(self, seconds: float) -> Foreground:
        return Foreground(deadline=clock.time() + seconds, say=log.info, poll_seconds=self._options.poll)

    @property
    def _attempt(self) -> Attempt:
        return attempt_for(self._owner, try_number=self._state.try_number, nonce=self._state.nonce)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one of the three, and return the exit status."""
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
    parser.add_argument("--state", type=Path, required=True, help="what one program tells the next")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds")
    parser.add_argument("--poll", type=float, default=15.0, help="seconds between two reads")
    parser.add_argument("--associated", action="store_true", help="undo: this run has associated the address")
    return parser.parse_args(arguments)
