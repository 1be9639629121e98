"""Waiting in the queue of an Elastic IP."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.airflow_compat import TriggerEvent
from airflow_eip_provider.hooks.lock_store import LockStoreHook
from airflow_eip_provider.lock.model import LIMITS, Speaker
from airflow_eip_provider.lock.sight import Action, Arrival, Due, Sight, judge, look
from airflow_eip_provider.lock.words import standing_of
from airflow_eip_provider.readings.lock import LeaseReads, as_reading
from airflow_eip_provider.stores.uri import open_store, parse_uri
from airflow_eip_provider.triggers.poller import Poller
from airflow_eip_provider.triggers.watch import Verdict, WatchTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    from airflow_eip_provider.calls import Reading
    from airflow_eip_provider.hooks.claim import Claim

SHORTEST_POLL_SECONDS = 15


class EipLeaseTrigger(WatchTrigger):
    """
    Wait until there is something for an owner to do in the queue of an Elastic IP.

    That is its turn at the free address, a dead lease that nobody before it in the queue has ended, the time to start
    its cluster early, or that it is not in the queue any more.

    :param lock_store: the store's URI.
    :param speaker: who waits: the fields of :class:`~airflow_eip_provider.lock.model.Speaker`.
    :param prewarm: among how many first places of the queue it starts its cluster early.
    :param wants: the cluster or instance that is to have the address; empty for one that will be launched.
    """

    own_fields = ("allocation_id", "lock_store", "speaker", "cluster_name", "handover_seconds", "prewarm", "wants")

    def __init__(
        self,
        *,
        allocation_id: str,
        lock_store: str,
        speaker: dict[str, Any],
        cluster_name: str,
        handover_seconds: float,
        prewarm: int = 0,
        wants: str = "",
        **watch: Any,
    ) -> None:
        super().__init__(**watch)
        self.allocation_id = allocation_id
        self.lock_store = lock_store
        self.speaker = speaker
        self.cluster_name = cluster_name
        self.handover_seconds = handover_seconds
        self.prewarm = prewarm
        self.wants = wants
        self.waiter_delay = max(self.waiter_delay, SHORTEST_POLL_SECONDS)
        self._arrival = Arrival(Speaker(**speaker), cluster_name, handover_seconds, prewarm, wants)
        self._due = Due()
        self._store = parse_uri(lock_store)

    @classmethod
    def of(cls, claim: Claim, **watch: Any) -> EipLeaseTrigger:
        """Return the wait of a claim."""
        return cls(
            allocation_id=claim.allocation_id,
            lock_store=claim.tenancy.uri,
            **asdict(claim.arrival),
            **watch,
        )

    @property
    def services(self) -> tuple[str, ...]:  # type: ignore[override]
        """The services that a look may call."""
        return ("ec2", "emr", self._store.kind)

    def hook(self, service: str) -> AwsBaseHook:
        """Return a new hook; the lock store may be in a region of its own."""
        if service != self._store.kind:
            return super().hook(service)
        return LockStoreHook(
            client_type=service,
            aws_conn_id=self.aws_conn_id,
            region_name=self._store.region or self.region_name,
            verify=self.verify,
            config=self.botocore_config,
        )

    def look(self) -> Reading[Verdict]:
        """Look at the record, and at the world as far as it matters."""
        sight = yield from self._see()
        return self.judge(sight)

    def _see(self) -> Reading[Sight]:
        return as_reading(self._look_with)

    def _look_with(self, clients: Mapping[str, Any]) -> Sight:
        store = open_store(self.lock_store, lambda kind, _: clients[kind])
        return look(LeaseReads(store, allocation_id=self.allocation_id, clients=clients))

    def judge(self, sight: Sight) -> Verdict:
        """Decide whether there is something to do for this owner."""
        dead_seconds = self._due.seconds(sight, LIMITS)
        action = judge(sight, self._arrival, dead_seconds=dead_seconds, limits=LIMITS)
        standing = standing_of(sight, self._arrival.speaker.owner)
        message = f"Elastic IP {self.allocation_id}: {standing}"
        data = {"action": action.name.lower(), "dead_seconds": dead_seconds, "queue": standing.facts()}
        return Verdict("pending" if action is Action.WAIT else "done", message, data)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait in the triggerer, with the others that wait for the same."""
        last = Verdict("pending", "not looked at yet")
        async with Poller.shared(self._key, self._poller) as poller:
            while (left := self.deadline - time.time()) > 0:
                try:
                    async with asyncio.timeout(left) as wait:
                        sight = await poller.next()
                    last = self._report(self.judge(sight))
                except Exception as error:
                    if not wait.expired():
                        last = self._tolerate(error, renewed=True)  # the poller has read them anew
                if last.status != "pending":
                    yield TriggerEvent(self._payload(last))  # type: ignore[no-untyped-call]
                    return
        yield TriggerEvent(self._timeout(last))  # type: ignore[no-untyped-call]

    def _poller(self) -> Poller[Sight]:
        return Poller(self._connect_all, self._see, delay=self.waiter_delay)

    @property
    def _key(self) -> tuple[Any, ...]:
        """Everything on which a look depends."""
        config = json.dumps(self.botocore_config, sort_keys=True, default=str)
        where = (self.aws_conn_id, self.region_name, self.verify, config)
        return (*where, self.lock_store, self.allocation_id, self.waiter_delay)
