"""The base of operators that acquire a lease: joining the queue, waiting, and cleaning up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock, metrics
from airflow_eip_provider.airflow_compat import earliest_start, own_xcom
from airflow_eip_provider.aws.tags import ALLOCATION_TAG
from airflow_eip_provider.exceptions import (
    AddressBusyError,
    InvalidInputError,
    LockStoreUnavailableError,
    PreflightError,
)
from airflow_eip_provider.hooks.address_pool import AddressPool, names_pool, read_pool
from airflow_eip_provider.links.eip import ElasticIpLink
from airflow_eip_provider.literals import parse_literal
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.lease_settings import attempt_of, lock_store_uri
from airflow_eip_provider.operators.phases import SHORTEST_DEFERRAL_SECONDS, PhasedOperator, State
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.lease.description import PoolPlace, QueuePlace
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.pool import QueuedForAll
    from airflow_eip_provider.lease.protocol import Acquired, Queued
    from airflow_eip_provider.lease.store import Snapshot
    from airflow_eip_provider.lease_client.interface import AddressInUse, AllInUse, ClusterLauncher
    from airflow_eip_provider.triggers.watch import WatchTrigger

# Stored XComs of the first version have this name.
_LEASE_XCOM = "tenancy"
# The lock store's clock and this one may run differently; its Date header has whole seconds.
_CLOCK_DIFFERENCE_SECONDS = 2.0


@dataclass(slots=True)
class LeasingState(State):
    """
    The progress of an owner with its lease.

    :param nonce: the nonce of the attempt.
    :param seen: unused; deferrals of version 0.1.0 have it.
    :param queued_since: when the owner joined the queue, by this task's clock; 0 if it has not.
    :param leased_at: when this try acquired the lease, by the same clock.
    :param addresses: the allocation IDs if the task takes any one of several addresses; ``allocation_id`` is the one
        that it has acquired.
    """

    lock_deadline: float
    nonce: str | None = None
    token: int | None = None
    seen: dict[str, Any] | None = None
    waiting_for: str = "address"
    queued_since: float = 0.0
    leased_at: float = 0.0
    addresses: list[str] = field(default_factory=list)


class LeasingOperator(PhasedOperator):
    """The base of operators that bind an address under a lease."""

    lock_timeout: timedelta
    job_flow_id: Any
    # The Azure SQL servers that must admit the address; only some operators have these parameters.
    servers: Any = ()
    azure_conn_id = "azure_default"
    _warned = False

    def begin_attempt(
        self, context: Context, state: LeasingState, launcher: ClusterLauncher | None = None
    ) -> str | None:
        """
        Check the lock store, and become the owner's newest attempt.

        :return: the cluster of an earlier try that this one adopts.
        :raises LockStoreError: when the store cannot be used.
        """
        attempt = attempt_of(context)
        if isinstance(self.allocation_id, AddressPool):
            state.addresses = list(self.allocation_id)
        elif self._named_several:
            self._publish_address(context)
        self.lease_queue.check()
        adopted = self.lease_queue.adopt(attempt, launcher) if launcher is not None else None
        self.choose_address(context, state)
        state.nonce = attempt.nonce
        self._remember(context, state)
        return adopted

    def read_addresses(self, context: Context) -> None:
        """
        Find the addresses that ``allocation_id`` names; leave out unusable ones with a warning.

        What an earlier try launched for one of these is undone, as no lease or queue that this try uses leads to it.

        :raises PreflightError: when it names several and none is usable, or when no address is admitted by all
            ``servers``.
        """
        self._named_several = names_pool(self._named)  # as rendered: an earlier call may have failed after this
        self.__dict__.pop("_lease_queue", None)
        launched_for = self._launched_for(context)
        named = self._read_pool(launched_for)
        servers = () if is_nothing(self.servers) else parse_literal(self.servers)
        if servers or isinstance(named, AddressPool):
            pool = named if isinstance(named, AddressPool) else AddressPool([named])
            try:
                usable, problems = preflight.usable_addresses(
                    pool, self.aws, servers=servers, azure_conn_id=self.azure_conn_id
                )
            except PreflightError:
                self._undo_unusable(context, launched_for)
                raise
            self._undo_unusable(context, {name: launched_for[name] for name in launched_for if name not in usable})
            for problem in problems:
                self.log.warning("An address of the pool is left out: %s", problem)
            if isinstance(named, AddressPool):
                named = usable
                self.log.info("Any one of these Elastic IPs can be used: %s", named)
        self.allocation_id = named

    def _launched_for(self, context: Context) -> dict[str, str]:
        """Return the clusters that earlier tries launched, by the address of a pool for which they did."""
        if not names_pool(self._named) or context["ti"].try_number == 1:
            return {}
        clusters = self.clusters_of_earlier_tries(context)
        return {c.tags[ALLOCATION_TAG]: c.job_flow_id for c in clusters if ALLOCATION_TAG in c.tags}

    def _undo_unusable(self, context: Context, launched_for: Mapping[str, str]) -> None:
        """Undo what earlier tries did with addresses that cannot be used now."""
        from airflow_eip_provider.lease_client.interface import Undo

        attempt, created_after = attempt_of(context), earliest_start(context)
        lock_store = lock_store_uri(self.lock_store)
        for allocation_id, job_flow_id in launched_for.items():
            self.log.warning(
                "Terminating cluster %s, which an earlier try launched for Elastic IP %s: this address cannot be used",
                job_flow_id,
                allocation_id,
            )
            lease_client = self.aws.lease_client(lock_store, allocation_id, kill=self.kill, dag_id=self._dag_id)
            undo = Undo(attempt, job_flow_id, launched=True, terminate=True, may_lag=True, created_after=created_after)
            lease_client.undo(undo)

    def _read_pool(self, launched_for: Mapping[str, str]) -> str | AddressPool:
        """
        Return the addresses that ``allocation_id`` names now, and those that earlier tries launched clusters for.

        The latter may have left the pool since, but this owner may have their lease or a place in their queue.
        """
        try:
            named = read_pool(self._named, self.aws)
        except InvalidInputError as error:
            if not launched_for:
                raise
            self.log.warning("%s", error)
            named = AddressPool()
        in_pool = {named} if isinstance(named, str) else set(named)
        for allocation_id in launched_for.keys() - in_pool:
            self.log.warning(
                "Elastic IP %s is no longer one of those that allocation_id names; an earlier try launched cluster %s "
                "for it, and this one continues with that cluster",
                allocation_id,
                launched_for[allocation_id],
            )
        addresses = sorted(in_pool | launched_for.keys())
        return AddressPool(addresses) if len(addresses) > 1 else addresses[0]

    def clusters_of_earlier_tries(self, context: Context) -> list[Cluster]:
        """Return the active clusters that earlier tries launched; none for a task that launches nothing."""
        return []

    def follow_address(self) -> None:
        """Do nothing: this task chooses the address."""

    def choose_address(self, context: Context, state: LeasingState) -> None:
        """Continue with the address of the pool that this task has acquired."""
        chosen = self.lease_queue.chosen
        if chosen is None or not state.addresses or state.allocation_id == chosen.allocation_id:
            return
        self.allocation_id = state.allocation_id = chosen.allocation_id
        self.__dict__["_lease_queue"] = chosen
        self.log.info("This task has acquired Elastic IP %s", self.allocation_id)
        self._remember(context, state)
        self._publish_address(context)
        self.link_address(context)

    def _publish_address(self, context: Context) -> None:
        """Publish the address for the following tasks, before there is a cluster that they may have to terminate."""
        context["ti"].xcom_push(key="allocation_id", value=self.allocation_id)

    def restore_address(self, context: Context, state: LeasingState) -> None:
        """Continue with the address of this task, or with the pool if it has acquired none."""
        super().restore_address(context, state)
        if state.addresses and state.allocation_id is None:
            self._named_several, self.allocation_id = True, AddressPool(state.addresses)

    @staticmethod
    def _remember(context: Context, state: LeasingState) -> None:
        """Store what a cleanup needs if the deferral's hint is lost; Airflow deletes XComs before the next try."""
        stored: dict[str, Any] = {"nonce": state.nonce, "token": state.token}
        if state.allocation_id is not None or state.addresses:
            stored["allocation_id"] = state.allocation_id or state.addresses
        context["ti"].xcom_push(key=_LEASE_XCOM, value=stored)

    def note_acquired(self, context: Context, state: LeasingState, acquired: Acquired) -> None:
        """Store the fencing token of the lease if there is one, and measure how long it took to acquire it."""
        self.choose_address(context, state)
        now = clock.time()
        state.leased_at = state.leased_at or now
        snapshot, lease, began = acquired.snapshot, acquired.snapshot.record.lease, self._began(state)
        # A lease that is older than this try was acquired by an earlier one, which has sent the metric.
        is_older = lease is not None and snapshot.now - lease.acquired_at > now - began + _CLOCK_DIFFERENCE_SECONDS
        if state.try_number == 1 or not is_older:
            self.measure(state, metrics.QUEUE_SECONDS, now - self._since(state))
        if acquired.token is not None:
            self.log.info("This task has the lease of Elastic IP %s, token %s", self.allocation_id, acquired.token)
            state.token = acquired.token
            self._remember(context, state)

    def wait_for_turn(
        self,
        context: Context,
        state: LeasingState,
        lease_request: LeaseRequest,
        entered: Queued | AddressInUse | QueuedForAll | AllInUse,
    ) -> WatchTrigger:
        """Return the wait for a lease or a free address."""
        from airflow_eip_provider.lease.description import pool_place_of, queue_place_of
        from airflow_eip_provider.lease.pool import QueuedForAll
        from airflow_eip_provider.lease.protocol import Queued
        from airflow_eip_provider.lease_client.interface import AllInUse
        from airflow_eip_provider.triggers.lock import EipLeaseTrigger
        from airflow_eip_provider.triggers.pool import EipPoolLeaseTrigger

        if isinstance(entered, AllInUse):
            return self.wait_for_any(context, state, job_flow_id=None)
        if not isinstance(entered, (Queued, QueuedForAll)):
            return self.wait_for_address(context, state, job_flow_id=None)
        self._warn_of_used_slot()
        state.waiting_for = "lease"
        owner, uri = lease_request.attempt.owner, str(self.lease_queue.uri)
        place: QueuePlace | PoolPlace
        if isinstance(entered, QueuedForAll):
            state.addresses = list(self.lease_queue.allocation_ids)
            for observation in entered.observations.values():
                self._note_queued(state, observation.snapshot, owner)
            place = pool_place_of(entered.observations, owner)
            self.log.info("Waiting for any one Elastic IP: %s", place)
        else:
            self._note_queued(state, entered.observation.snapshot, owner)
            place = queue_place_of(entered.observation, owner)
            self.log.info("Waiting for Elastic IP %s: %s", self.allocation_id, place)
        context["ti"].xcom_push(key="queue", value=place.facts())
        shared = self.watch(state, deadline=self._queue_deadline(context, state, **place.facts()))
        if isinstance(entered, QueuedForAll):
            return EipPoolLeaseTrigger.of(lease_request, allocation_ids=state.addresses, lock_store=uri, **shared)
        return EipLeaseTrigger.of(lease_request, allocation_id=self.allocation_id, lock_store=uri, **shared)

    def wait_for_any(self, context: Context, state: LeasingState, *, job_flow_id: str | None) -> WatchTrigger:
        """
        Return the wait for the first free address of a pool without a lock store.

        :param job_flow_id: the cluster that needs it; the wait fails when that cluster ends.
        """
        from airflow_eip_provider.aws.nat_gateway_changes import remove_leftover_gateway
        from airflow_eip_provider.triggers.pool import EipPoolFreeTrigger

        self._warn_of_used_slot()
        state.waiting_for = "address"
        self.kill.check()
        for allocation_id in state.addresses:
            remove_leftover_gateway(self.eip.conn, self.emr.conn, allocation_id=allocation_id)
        places = "; ".join(f"{name} is {self.eip.describe_place(name)}" for name in state.addresses)
        self.log.info("Waiting for any one Elastic IP: %s", places)
        shared = self.watch(state, deadline=self._queue_deadline(context, state, holder=places))
        return EipPoolFreeTrigger(allocation_ids=state.addresses, job_flow_id=job_flow_id, **shared)

    def next_free_address(self, context: Context, state: LeasingState, *, job_flow_id: str) -> bool:
        """
        Continue with another address of the pool when EC2 refused the one that was free before.

        Only without a lock store: with one the cluster waits for the address that it has the lease of.

        :return: ``False`` when no other address is free.
        """
        from airflow_eip_provider.lease_client.pool import PhysicalPool

        pool = self.aws.lease_queue(None, AddressPool(state.addresses), kill=self.kill, dag_id=self._dag_id)
        if not isinstance(pool, PhysicalPool) or pool.next_free(job_flow_id) is None:
            return False
        self.log.info("Another cluster has got Elastic IP %s; trying another address", self.allocation_id)
        self.__dict__["_lease_queue"] = pool
        self.choose_address(context, state)
        return True

    def _note_queued(self, state: LeasingState, snapshot: Snapshot, owner: str) -> None:
        """Set when the owner joined the queue, which may have been in an earlier try."""
        if (place := snapshot.record.place(owner)) is not None:
            state.queued_since = clock.time() - max(snapshot.now - snapshot.record.queue[place].arrived_at, 0.0)

    def _queue_deadline(self, context: Context, state: LeasingState, **facts: Any) -> float:
        """
        Return the end of the next wait in the queue; call ``on_queued_longer_than`` if it is due.

        :param facts: for the notifier.
        :return: when the notifier is due, else ``lock_deadline``.
        """
        due = self._notify_at(context, state)
        if self.on_queued_longer_than is None or due is None:
            return state.lock_deadline
        if (now := clock.time()) < due:
            return min(max(due, now + SHORTEST_DEFERRAL_SECONDS), state.lock_deadline)
        waited = round(now - self._since(state))
        self.notify(context, self.on_queued_longer_than[1], "queued", once="queued", waited_seconds=waited, **facts)
        return state.lock_deadline

    def _notify_at(self, context: Context, state: LeasingState) -> float | None:
        """Return when ``on_queued_longer_than`` is due; ``None`` if it is not set or was already called."""
        if self.on_queued_longer_than is None or self.has_notified(context, "queued"):
            return None
        due = self._since(state) + self.on_queued_longer_than[0].total_seconds()
        return due if due < state.lock_deadline else None

    def only_notifies(self, context: Context, state: LeasingState) -> bool:
        """Whether a wait in the queue ended only because the notifier is due."""
        return state.waiting_for in {"lease", "address"} and self._notify_at(context, state) is not None

    def _since(self, state: LeasingState) -> float:
        return state.queued_since or self._began(state)

    def _began(self, state: LeasingState) -> float:
        return state.lock_deadline - self.lock_timeout.total_seconds()

    def wait_for_address(
        self, context: Context, state: LeasingState, *, job_flow_id: str | None, like: dict[str, str] | None = None
    ) -> WatchTrigger:
        """
        Return the wait for the address to be free, or on a NAT gateway whose cluster has ended.

        :param job_flow_id: the cluster that needs it; the wait fails when that cluster ends.
        :param like: tags of that cluster; the wait also ends when another cluster with them has the address.
        """
        from airflow_eip_provider.aws.nat_gateway_changes import remove_leftover_gateway
        from airflow_eip_provider.triggers.eip import EipAssociationTrigger

        self._warn_of_used_slot()
        state.waiting_for = "address"
        self.kill.check()
        remove_leftover_gateway(self.eip.conn, self.emr.conn, allocation_id=self.allocation_id)
        place = self.eip.describe_place(self.allocation_id)
        self.log.info("Waiting for Elastic IP %s: %s", self.allocation_id, place)
        return EipAssociationTrigger(
            allocation_id=self.allocation_id,
            job_flow_id=job_flow_id,
            like=like,
            expect="free",
            or_left=True,
            **self.watch(state, deadline=self._queue_deadline(context, state, holder=place)),
        )

    def _warn_of_used_slot(self) -> None:
        """Warn once that a wait for the address uses a worker slot."""
        if not self.deferrable and not self._warned:
            self._warned = True
            self.log.warning(
                "This task waits in a worker for Elastic IP %s, and keeps its slot meanwhile. When no slot is left for "
                "the tasks that free the address, neither can continue before lock_timeout (%s): set deferrable=True, "
                "which needs a triggerer",
                self.allocation_id,
                self.lock_timeout,
            )

    def undo(self, context: Context, state: Any | None) -> None:
        """Undo, and log what is left when the lock store does not answer."""
        self.undo_addresses(context, state)
        try:
            super().undo(context, state)
        except LockStoreUnavailableError:
            undo = self.to_undo(context, state)
            if undo is not None and undo.resource_id is not None:
                self.log_leftovers(undo.resource_id)
            raise

    def log_leftovers(self, resource_id: str) -> None:
        """Log what this task did and could not undo."""

    @staticmethod
    def known_lease(context: Context, state: LeasingState | None) -> tuple[str | None, int | None]:
        """Return the nonce and the fencing token of this try if they are known."""
        if state is not None:
            return state.nonce, state.token
        stored = own_xcom(context, _LEASE_XCOM) or {}
        return stored.get("nonce"), stored.get("token")

    def undo_addresses(self, context: Context, state: LeasingState | None) -> None:
        """Find the address or addresses that this try must release if ``allocation_id`` names several."""
        if state is not None or not names_pool(self.allocation_id):
            return
        stored = (own_xcom(context, _LEASE_XCOM) or {}).get("allocation_id")
        if stored is not None:
            self.allocation_id = stored if isinstance(stored, str) else AddressPool(stored)
        elif linked := own_xcom(context, ElasticIpLink.key):
            self.allocation_id = linked["allocation_id"]
        elif not isinstance(self.allocation_id, AddressPool):
            self._named = self.allocation_id
            self.allocation_id = self._read_pool(self._launched_for(context))
        self.__dict__.pop("_lease_queue", None)

    def address_timed_out(self, state: LeasingState, event: dict[str, Any]) -> AddressBusyError:
        """Return the error of a wait for the lease or for the address that timed out."""
        from airflow_eip_provider.operators.binder import Binder

        waited = self.lock_timeout.total_seconds()
        if state.waiting_for == "lease" or isinstance(self.allocation_id, AddressPool):
            holder = event["data"].get("queue", {}).get("holder", event["message"]).removeprefix("held by ")
            return AddressBusyError(str(self.allocation_id), holder=holder, waited_seconds=waited)
        return Binder(self.eip, self.allocation_id).busy(waited_seconds=waited)


def observed_due_seconds(event: dict[str, Any] | None) -> Any:
    """
    Return for how long a wait in the queue has observed that the lease must be ended.

    :return: seconds; by allocation ID after a wait for any one of several addresses.
    """
    return event["data"].get("dead_seconds", 0.0) if event else 0.0


def with_estimate(lease_request: LeaseRequest, event: dict[str, Any] | None) -> LeaseRequest:
    """Return a request with the number of places that its wait has estimated, if it ended because of that."""
    # A wait that an earlier version began has no such key.
    places = event["data"].get("prewarm", 0) if event else 0
    return replace(lease_request, prewarm=places) if places else lease_request
