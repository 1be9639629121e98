"""What the operators share that take a lease: queueing for it, handing over, and giving it back."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import metrics
from airflow_eip_provider.airflow_compat import own_xcom
from airflow_eip_provider.aws.nat_gateway_changes import free_left_behind
from airflow_eip_provider.exceptions import AddressBusyError, LockStoreUnavailableError
from airflow_eip_provider.lease.description import queue_place_of
from airflow_eip_provider.lease.protocol import Queued
from airflow_eip_provider.operators.binder import Binder
from airflow_eip_provider.operators.lease_settings import attempt_of
from airflow_eip_provider.operators.phases import SHORTEST_DEFERRAL_SECONDS, PhasedOperator, State
from airflow_eip_provider.triggers.eip import EipAssociationTrigger

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.protocol import Acquired
    from airflow_eip_provider.lease.store import Seen
    from airflow_eip_provider.lease_client.interface import AddressInUse, ClusterLauncher
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
    """

    lock_deadline: float
    nonce: str | None = None
    token: int | None = None
    seen: dict[str, Any] | None = None
    waiting_for: str = "address"
    queued_since: float = 0.0
    leased_at: float = 0.0


class LeasingOperator(PhasedOperator):
    """The lease of an address, for operators that bind it."""

    lock_timeout: timedelta
    job_flow_id: Any
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
        self.lease_client.check()
        adopted = self.lease_client.adopt(attempt, launcher) if launcher is not None else None
        state.nonce = attempt.nonce
        self._remember(context, state)
        return adopted

    @staticmethod
    def _remember(context: Context, state: LeasingState) -> None:
        """Keep what a clean-up needs when the deferral's hint is lost; an XCom lives as long as its try."""
        context["ti"].xcom_push(key=_LEASE_XCOM, value={"nonce": state.nonce, "token": state.token})

    def note_acquired(self, context: Context, state: LeasingState, acquired: Acquired) -> None:
        """Keep the fencing token of the lease, if there is one, and say how long it took to get it."""
        now = time.time()
        state.leased_at = state.leased_at or now
        seen, lease, began = acquired.seen, acquired.seen.record.lease, self._began(state)
        # A lease that is older than this try was acquired by an earlier one, which has said so.
        is_older = lease is not None and seen.now - lease.acquired_at > now - began + _CLOCKS_DIFFER_SECONDS
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
        entered: Queued | AddressInUse,
    ) -> WatchTrigger:
        """Return what to wait for when the address is not this owner's yet."""
        if not isinstance(entered, Queued):
            return self.wait_for_address(context, state, job_flow_id=None)
        self.warn_of_a_held_worker()
        state.waiting_for = "lease"
        self._note_queued(state, entered.observation.seen, lease_request.attempt.owner)
        place = queue_place_of(entered.observation, lease_request.attempt.owner)
        self.log.info("Waiting for Elastic IP %s: %s", self.allocation_id, place)
        context["ti"].xcom_push(key="queue", value=place.facts())
        shared = self.watch(state, deadline=self._queue_deadline(context, state, **place.facts()))
        from airflow_eip_provider.triggers.lock import EipLeaseTrigger  # noqa: PLC0415 - only a task's run needs it

        uri = str(self.lease_client.uri)
        return EipLeaseTrigger.of(lease_request, allocation_id=self.allocation_id, lock_store=uri, **shared)

    def _note_queued(self, state: LeasingState, seen: Seen, owner: str) -> None:
        """Remember since when the owner queues: an earlier try may have joined."""
        if (place := seen.record.place(owner)) is not None:
            state.queued_since = time.time() - max(seen.now - seen.record.queue[place].arrived_at, 0.0)

    def _queue_deadline(self, context: Context, state: LeasingState, **facts: Any) -> float:
        """
        Notify when the owner has queued for too long.

        :param facts: for the notifier.
        :return: until when to wait: until it is to be notified, or to the end.
        """
        due = self._notify_at(context, state)
        if self.on_queued_longer_than is None or due is None:
            return state.lock_deadline
        if (now := time.time()) < due:
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
        self.warn_of_a_held_worker()
        state.waiting_for = "address"
        self.kill.check()
        free_left_behind(self.eip.conn, self.emr.conn, allocation_id=self.allocation_id)
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
        try:
            super().undo(context, state)
        except LockStoreUnavailableError:
            undo = self.to_undo(context, state)
            if undo is not None and undo.resource_id is not None:
                self.say_what_is_left(undo.resource_id)
            raise

    def say_what_is_left(self, resource_id: str) -> None:
        """Tell people what this task did and could not undo."""

    @staticmethod
    def known_lease(context: Context, state: LeasingState | None) -> tuple[str | None, int | None]:
        """Return the nonce and the fencing token of this try, as far as they are known."""
        if state is not None:
            return state.nonce, state.token
        kept = own_xcom(context, _LEASE_XCOM) or {}
        return kept.get("nonce"), kept.get("token")

    def address_timed_out(self, state: LeasingState, event: dict[str, Any]) -> AddressBusyError:
        """Return the error of a wait for the lease or for the address that has ended."""
        waited = self.lock_timeout.total_seconds()
        if state.waiting_for == "lease":
            holder = event["data"].get("queue", {}).get("holder", event["message"]).removeprefix("held by ")
            return AddressBusyError(self.allocation_id, holder=holder, waited_seconds=waited)
        return Binder(self.eip, self.allocation_id).busy(waited_seconds=waited)


def observed_due_seconds(event: dict[str, Any] | None) -> float:
    """Return for how long a wait in the queue has observed that the lease has to be ended."""
    return float(event["data"].get("dead_seconds", 0.0)) if event else 0.0


def with_estimate(lease_request: LeaseRequest, event: dict[str, Any] | None) -> LeaseRequest:
    """Return a request with the number of places that its wait has estimated, where the wait ended because of that."""
    # A wait that a version before began, which estimated nothing, has no such key.
    places = event["data"].get("prewarm", 0) if event else 0
    return replace(lease_request, prewarm=places) if places else lease_request
