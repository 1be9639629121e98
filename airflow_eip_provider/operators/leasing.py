"""What the operators share that take a lease: queueing for it, handing over, and giving it back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock, metrics
from airflow_eip_provider.airflow_compat import own_xcom
from airflow_eip_provider.aws.tags import ALLOCATION_TAG
from airflow_eip_provider.exceptions import AddressBusyError, InvalidInputError, LockStoreUnavailableError
from airflow_eip_provider.hooks.address_pool import AddressPool, names_pool, read_pool
from airflow_eip_provider.links.eip import ElasticIpLink
from airflow_eip_provider.literals import parse_literal
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.lease_settings import attempt_of
from airflow_eip_provider.operators.phases import SHORTEST_DEFERRAL_SECONDS, PhasedOperator, State
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.pool import QueuedForAll
    from airflow_eip_provider.lease.protocol import Acquired, Queued
    from airflow_eip_provider.lease.store import Snapshot
    from airflow_eip_provider.lease_client.interface import AddressInUse, AllInUse, ClusterLauncher
    from airflow_eip_provider.triggers.watch import WatchTrigger

# XComs are stored; this one keeps the name that it had in the first version.
_LEASE_XCOM = "tenancy"
# Between two answers of the lock store its clock and this one do not pass alike; its Date header has whole seconds.
_CLOCKS_DIFFER_SECONDS = 2.0


@dataclass(slots=True)
class LeasingState(State):
    """
    How far an owner has come with its lease.

    :param nonce: of the attempt.
    :param seen: unused; deferrals of version 0.1.0 carry it.
    :param queued_since: when its owner joined the queue, by the clock of this task; 0 when it has not.
    :param leased_at: when this try had the lease, by the same clock.
    :param addresses: where any one of several addresses will do, their allocation IDs; which of them is this task's,
        ``allocation_id`` says.
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
    """The lease of an address, for operators that bind it."""

    lock_timeout: timedelta
    job_flow_id: Any
    # Of Azure SQL, each of which has to admit the address; only some operators have these parameters.
    servers: Any = ()
    azure_conn_id = "azure_default"
    _warned = False

    def begin_attempt(
        self, context: Context, state: LeasingState, launcher: ClusterLauncher | None = None
    ) -> str | None:
        """
        Check the lock store, and become the owner's newest attempt.

        :return: a cluster of an earlier try, which this one goes on with.
        :raises LockStoreError: naming what is wrong with the store.
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
        Find out which addresses ``allocation_id`` names; those that cannot be had are left out, with a warning.

        :raises PreflightError: when it names several, and none of them can be had, or when none is admitted by each of
            ``servers``.
        """
        self._named_several = names_pool(self._named)  # as rendered: the first call may have met an error after this
        self.__dict__.pop("_lease_queue", None)
        named = self._read_pool(context)
        servers = () if is_nothing(self.servers) else parse_literal(self.servers)
        if servers or isinstance(named, AddressPool):
            pool = named if isinstance(named, AddressPool) else AddressPool([named])
            usable, problems = preflight.usable_addresses(
                pool, self.aws, servers=servers, azure_conn_id=self.azure_conn_id
            )
            for problem in problems:
                self.log.warning("An address of the pool is left out: %s", problem)
            if isinstance(named, AddressPool):
                named = usable
                self.log.info("Any one of these Elastic IPs will do: %s", named)
        self.allocation_id = named

    def _read_pool(self, context: Context) -> str | AddressPool:
        """
        Return what ``allocation_id`` names now, and the addresses that earlier tries launched clusters for.

        Those may have left the pool since, and a lease or a place in a queue there is this owner's.
        """
        left: dict[str, str] = {}
        if names_pool(self._named) and context["ti"].try_number > 1:
            for cluster in self.clusters_of_earlier_tries(context):
                if (allocation_id := cluster.tags.get(ALLOCATION_TAG)) is not None:
                    left[allocation_id] = cluster.job_flow_id
        try:
            named = read_pool(self._named, self.aws)
        except InvalidInputError as error:
            if not left:
                raise
            self.log.warning("%s", error)
            named = AddressPool()
        known = {named} if isinstance(named, str) else set(named)
        for allocation_id in left.keys() - known:
            self.log.warning(
                "Elastic IP %s is no longer one of those that allocation_id names; an earlier try launched cluster %s "
                "for it, and this one goes on with that",
                allocation_id,
                left[allocation_id],
            )
        addresses = sorted(known | left.keys())
        return AddressPool(addresses) if len(addresses) > 1 else addresses[0]

    def clusters_of_earlier_tries(self, context: Context) -> list[Cluster]:
        """Return the live clusters that earlier tries launched; none for a task that launches nothing."""
        return []

    def follow_address(self) -> None:
        """Find out nothing: this task chooses the address."""

    def choose_address(self, context: Context, state: LeasingState) -> None:
        """Go on with the address that is this task's now, where any one of several would have done."""
        chosen = self.lease_queue.chosen
        if chosen is None or not state.addresses or state.allocation_id == chosen.allocation_id:
            return
        self.allocation_id = state.allocation_id = chosen.allocation_id
        self.__dict__["_lease_queue"] = chosen
        self.log.info("Elastic IP %s is free, and this task's", self.allocation_id)
        self._remember(context, state)
        self._publish_address(context)
        self.link_address(context)

    def _publish_address(self, context: Context) -> None:
        """Tell the tasks that follow which address it is, before there is a cluster that they may have to end."""
        context["ti"].xcom_push(key="allocation_id", value=self.allocation_id)

    def restore_address(self, context: Context, state: LeasingState) -> None:
        """Go on with the address that is this task's, or with those of which any will do."""
        super().restore_address(context, state)
        if state.addresses and state.allocation_id is None:
            self._named_several, self.allocation_id = True, AddressPool(state.addresses)

    @staticmethod
    def _remember(context: Context, state: LeasingState) -> None:
        """Keep what a clean-up needs when the deferral's hint is lost; an XCom lives as long as its try."""
        kept: dict[str, Any] = {"nonce": state.nonce, "token": state.token}
        if state.allocation_id is not None or state.addresses:
            kept["allocation_id"] = state.allocation_id or state.addresses
        context["ti"].xcom_push(key=_LEASE_XCOM, value=kept)

    def note_acquired(self, context: Context, state: LeasingState, acquired: Acquired) -> None:
        """Keep the fencing token of the lease, if there is one, and say how long it took to get it."""
        self.choose_address(context, state)
        now = clock.time()
        state.leased_at = state.leased_at or now
        snapshot, lease, began = acquired.snapshot, acquired.snapshot.record.lease, self._began(state)
        # A lease that is older than this try was acquired by an earlier one, which has said so.
        is_older = lease is not None and snapshot.now - lease.acquired_at > now - began + _CLOCKS_DIFFER_SECONDS
        if state.try_number == 1 or not is_older:
            self.measure(state, metrics.QUEUE_SECONDS, now - self._since(state))
        if acquired.token is not None:
            self.log.info("The lease of Elastic IP %s is this task's, token %s", self.allocation_id, acquired.token)
            state.token = acquired.token
            self._remember(context, state)

    def wait_for_turn(
        self,
        context: Context,
        state: LeasingState,
        lease_request: LeaseRequest,
        entered: Queued | AddressInUse | QueuedForAll | AllInUse,
    ) -> WatchTrigger:
        """Return what to wait for when no address is this owner's yet."""
        from airflow_eip_provider.lease.description import queue_place_of
        from airflow_eip_provider.lease.pool import QueuedForAll
        from airflow_eip_provider.lease.protocol import Queued
        from airflow_eip_provider.lease_client.interface import AllInUse
        from airflow_eip_provider.triggers.lock import EipLeaseTrigger

        if isinstance(entered, AllInUse):
            return self.wait_for_any(context, state, job_flow_id=None)
        if isinstance(entered, QueuedForAll):
            return self._wait_for_turn_in_pool(context, state, lease_request, entered)
        if not isinstance(entered, Queued):
            return self.wait_for_address(context, state, job_flow_id=None)
        self.warn_of_a_held_worker()
        state.waiting_for = "lease"
        self._note_queued(state, entered.observation.snapshot, lease_request.attempt.owner)
        place = queue_place_of(entered.observation, lease_request.attempt.owner)
        self.log.info("Waiting for Elastic IP %s: %s", self.allocation_id, place)
        context["ti"].xcom_push(key="queue", value=place.facts())
        shared = self.watch(state, deadline=self._queue_deadline(context, state, **place.facts()))
        uri = str(self.lease_client.uri)
        return EipLeaseTrigger.of(lease_request, allocation_id=self.allocation_id, lock_store=uri, **shared)

    def _wait_for_turn_in_pool(
        self, context: Context, state: LeasingState, lease_request: LeaseRequest, queued: QueuedForAll
    ) -> WatchTrigger:
        from airflow_eip_provider.lease.description import pool_place_of
        from airflow_eip_provider.triggers.pool import EipPoolLeaseTrigger

        self.warn_of_a_held_worker()
        state.waiting_for = "lease"
        state.addresses = list(self.lease_queue.allocation_ids)
        for observation in queued.observations.values():
            self._note_queued(state, observation.snapshot, lease_request.attempt.owner)
        place = pool_place_of(queued.observations, lease_request.attempt.owner)
        self.log.info("Waiting for any one Elastic IP: %s", place)
        context["ti"].xcom_push(key="queue", value=place.facts())
        shared = self.watch(state, deadline=self._queue_deadline(context, state, **place.facts()))
        uri = str(self.lease_queue.uri)
        return EipPoolLeaseTrigger.of(lease_request, allocation_ids=state.addresses, lock_store=uri, **shared)

    def wait_for_any(self, context: Context, state: LeasingState, *, job_flow_id: str | None) -> WatchTrigger:
        """
        Return the wait for the first free address of a pool without a lock store.

        :param job_flow_id: a cluster that waits for it; the wait fails when that one ends.
        """
        from airflow_eip_provider.aws.nat_gateway_changes import remove_leftover_gateway
        from airflow_eip_provider.triggers.pool import EipPoolFreeTrigger

        self.warn_of_a_held_worker()
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
        Go on with another address of the pool for a cluster, where EC2 has refused the one that was free before.

        With a lock store that cannot be: the lease keeps the address, and whatever has it has no right to it.

        :return: ``False`` when no other address is free.
        """
        from airflow_eip_provider.lease_client.pool import PhysicalPool

        pool = self.aws.lease_queue(None, AddressPool(state.addresses), kill=self.kill, dag_id=self._dag_id)
        if not isinstance(pool, PhysicalPool) or pool.next_free(job_flow_id) is None:
            return False
        self.log.info("EC2 gave Elastic IP %s to another cluster; trying another address", self.allocation_id)
        self.__dict__["_lease_queue"] = pool
        self.choose_address(context, state)
        return True

    def _note_queued(self, state: LeasingState, snapshot: Snapshot, owner: str) -> None:
        """Remember since when the owner queues: an earlier try may have joined."""
        if (place := snapshot.record.place(owner)) is not None:
            state.queued_since = clock.time() - max(snapshot.now - snapshot.record.queue[place].arrived_at, 0.0)

    def _queue_deadline(self, context: Context, state: LeasingState, **facts: Any) -> float:
        """
        Notify when the owner has queued for too long.

        :param facts: for the notifier.
        :return: until when to wait: until it is to be notified, or to the end.
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
        """Return when to notify of the queue; ``None`` for never, or never again."""
        if self.on_queued_longer_than is None or self.has_notified(context, "queued"):
            return None
        due = self._since(state) + self.on_queued_longer_than[0].total_seconds()
        return due if due < state.lock_deadline else None

    def only_notifies(self, context: Context, state: LeasingState) -> bool:
        """Whether a wait in the queue has ended to notify, and goes on then."""
        return state.waiting_for in {"lease", "address"} and self._notify_at(context, state) is not None

    def _since(self, state: LeasingState) -> float:
        return state.queued_since or self._began(state)

    def _began(self, state: LeasingState) -> float:
        return state.lock_deadline - self.lock_timeout.total_seconds()

    def wait_for_address(
        self, context: Context, state: LeasingState, *, job_flow_id: str | None, like: dict[str, str] | None = None
    ) -> WatchTrigger:
        """
        Return the wait for the address, or for a NAT gateway with it whose cluster has ended.

        :param job_flow_id: a cluster that waits for it; the wait fails when that one ends.
        :param like: tags of that cluster; another that has them will do.
        """
        from airflow_eip_provider.aws.nat_gateway_changes import remove_leftover_gateway
        from airflow_eip_provider.triggers.eip import EipAssociationTrigger

        self.warn_of_a_held_worker()
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

    def warn_of_a_held_worker(self) -> None:
        """Say once, when a wait for the address begins in a worker, what that worker may be needed for."""
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
        """Undo, and say what is left when the lock store does not answer."""
        self.undo_addresses(context, state)
        try:
            super().undo(context, state)
        except LockStoreUnavailableError:
            undo = self.to_undo(context, state)
            if undo is not None and undo.resource_id is not None:
                self.log_leftovers(undo.resource_id)
            raise

    def log_leftovers(self, resource_id: str) -> None:
        """Tell people what this task did and could not undo."""

    @staticmethod
    def known_lease(context: Context, state: LeasingState | None) -> tuple[str | None, int | None]:
        """Return the nonce and the fencing token of this try, as far as they are known."""
        if state is not None:
            return state.nonce, state.token
        kept = own_xcom(context, _LEASE_XCOM) or {}
        return kept.get("nonce"), kept.get("token")

    def undo_addresses(self, context: Context, state: LeasingState | None) -> None:
        """Find out which address, or which addresses, this try has to give back, where its parameter names several."""
        if state is not None or not names_pool(self.allocation_id):
            return
        known = (own_xcom(context, _LEASE_XCOM) or {}).get("allocation_id")
        if known is not None:
            self.allocation_id = known if isinstance(known, str) else AddressPool(known)
        elif linked := own_xcom(context, ElasticIpLink.key):
            self.allocation_id = linked["allocation_id"]
        elif not isinstance(self.allocation_id, AddressPool):
            self._named = self.allocation_id
            self.allocation_id = self._read_pool(context)
        self.__dict__.pop("_lease_queue", None)

    def address_timed_out(self, state: LeasingState, event: dict[str, Any]) -> AddressBusyError:
        """Return the error of a wait for the lease or for the address that has ended."""
        from airflow_eip_provider.operators.binder import Binder

        waited = self.lock_timeout.total_seconds()
        if state.waiting_for == "lease" or isinstance(self.allocation_id, AddressPool):
            holder = event["data"].get("queue", {}).get("holder", event["message"]).removeprefix("held by ")
            return AddressBusyError(str(self.allocation_id), holder=holder, waited_seconds=waited)
        return Binder(self.eip, self.allocation_id).busy(waited_seconds=waited)


def observed_due_seconds(event: dict[str, Any] | None) -> Any:
    """
    Return for how long a wait in the queue has observed that the lease has to be ended.

    :return: seconds; after a wait for any one of several addresses, by allocation ID.
    """
    return event["data"].get("dead_seconds", 0.0) if event else 0.0


def with_estimate(lease_request: LeaseRequest, event: dict[str, Any] | None) -> LeaseRequest:
    """Return a request with the number of places that its wait has estimated, where the wait ended because of that."""
    # A wait that a version before began, which estimated nothing, has no such key.
    places = event["data"].get("prewarm", 0) if event else 0
    return replace(lease_request, prewarm=places) if places else lease_request
