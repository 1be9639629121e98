"""What the operators share that take a lease: queueing for it, handing over, and giving it back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from airflow_eip_provider.airflow_compat import own_xcom
from airflow_eip_provider.exceptions import AddressBusyError
from airflow_eip_provider.lease.description import queue_place_of
from airflow_eip_provider.lease.observation import LeaseRequest
from airflow_eip_provider.lease.protocol import Queued
from airflow_eip_provider.lease_client.claim import Claim
from airflow_eip_provider.operators.lease_settings import attempt_of
from airflow_eip_provider.operators.phases import PhasedOperator, State
from airflow_eip_provider.triggers.lock import EipLeaseTrigger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.lease.record import Lease
    from airflow_eip_provider.lease.store import Seen
    from airflow_eip_provider.lease_client.client import LeaseClient
    from airflow_eip_provider.triggers.watch import WatchTrigger


@dataclass(slots=True)
class LeasingState(State):
    """
    How far an owner has come with its lease.

    :param nonce: of the attempt.
    :param seen: unused; deferrals of version 0.1.0 carry it.
    """

    lock_deadline: float
    nonce: str | None = None
    token: int | None = None
    seen: dict[str, Any] | None = None
    waiting_for: str = "address"


class LeasingOperator(PhasedOperator):
    """The lease of an address, for operators that bind it; all of this needs a lock store."""

    lock_timeout: timedelta
    _warned = False

    def begin_attempt(self, context: Context, state: LeasingState) -> None:
        """
        Check the lock store, and become the owner's newest attempt.

        :raises LockStoreError: naming what is wrong with the store.
        """
        if self.lease_client is not None:
            self.lease_client.store.check()
            state.nonce = attempt_of(context).nonce
            self._remember(context, state)

    def enter_queue(
        self,
        context: Context,
        state: LeasingState,
        event: dict[str, Any] | None,
        *,
        launch: Callable[[int], str] | None = None,
        **lease_request: Any,
    ) -> Seen | WatchTrigger:
        """
        Take the lease, or a place in the queue and what to wait for.

        :param lease_request: the fields of :class:`~airflow_eip_provider.lease.observation.LeaseRequest`, without the
            attempt.
        :raises SupersededError: when a newer try is at work.
        """
        claim = self._claim(context, state.nonce, **lease_request)
        waited = event["data"].get("dead_seconds", 0.0) if event else 0.0
        # What the wait has estimated; a deferral of a version that did not estimate has none.
        prewarm = event["data"].get("prewarm", 0) if event else 0
        entered = claim.enter(due_seconds=waited, prewarm=max(prewarm, 0), launch=launch)
        if isinstance(entered, Queued):
            if event is None:
                self._note_grace(claim, entered)
            return self._wait_for_lease(context, state, claim, entered)
        lease = cast("Lease", entered.seen.record.lease)
        self.log.info("The lease of Elastic IP %s is this task's, token %s", self.allocation_id, lease.token)
        state.token = lease.token
        self._remember(context, state)
        return entered.seen

    @staticmethod
    def _remember(context: Context, state: LeasingState) -> None:
        """Keep what a clean-up needs when the deferral's hint is lost; an XCom lives as long as its try."""
        context["ti"].xcom_push(key="tenancy", value={"nonce": state.nonce, "token": state.token})

    def _claim(self, context: Context, nonce: str | None, **lease_request: Any) -> Claim:
        arrived = LeaseRequest(attempt_of(context, nonce), **lease_request)
        return Claim(
            cast("LeaseClient", self.lease_client), arrived, self.allocation_id, newer="a newer try of this task"
        )

    def _note_grace(self, claim: Claim, waiting: Queued) -> None:
        """Log that the record's grace is not the one that is configured here: the record's holds for everybody."""
        configured, agreed = claim.lease_client.limits.grace, waiting.observation.seen.record.grace
        if configured != agreed:
            self.log.info(
                "A free Elastic IP %s is kept %.0f s for whose turn it is, as its record says; %.0f s, which are "
                "configured here, apply when the queue has been empty",
                self.allocation_id,
                agreed,
                configured,
            )

    def _wait_for_lease(self, context: Context, state: LeasingState, claim: Claim, waiting: Queued) -> WatchTrigger:
        self.warn_of_a_held_worker()
        state.waiting_for = "lease"
        standing = queue_place_of(waiting.observation, claim.lease_request.attempt.owner)
        self.log.info("Waiting for Elastic IP %s: %s", self.allocation_id, standing)
        context["ti"].xcom_push(key="queue", value=standing.facts())
        return EipLeaseTrigger.of(claim, **self.watch(state, deadline=state.lock_deadline))

    def warn_of_a_held_worker(self) -> None:
        """Say once, when a wait for the address begins in a worker, what that worker may be needed for."""
        if not self.deferrable and not self._warned:
            self._warned = True
            self.log.warning(
                "This task waits in a worker for Elastic IP %s, and keeps its slot meanwhile. When no slot is left for "
                "the tasks that free the address, neither goes on until lock_timeout (%s): set deferrable=True, which "
                "needs a triggerer",
                self.allocation_id,
                self.lock_timeout,
            )

    def activate_lease(self, context: Context, state: LeasingState, resource_id: str) -> None:
        """
        Hand the lease over to what carries the address: the last look whether it is still this task's.

        :raises LeaseLostError: when it is not.
        """
        if self.lease_client is None:
            return
        self._claim(context, state.nonce).hand_over(token=cast("int", state.token), resource_id=resource_id)

    def give_back(
        self,
        context: Context,
        state: LeasingState | None,
        *,
        resource_id: str | None,
        terminate: bool,
        association_id: str | None = None,
    ) -> None:
        """
        End this try's part in the lease or the queue; a newer try's is left alone.

        :param resource_id: what this try bound the address to, or launched for it.
        :param terminate: end that cluster, too; one that stays would keep the address that EC2 did not show on it yet.
        :param association_id: what this try made, if it knows.
        """
        remembered = own_xcom(context, "tenancy") or {}
        known: dict[str, Any] = {"nonce": state.nonce, "token": state.token} if state else remembered
        nonce = known.get("nonce")
        if self.lease_client is None or (nonce is None and context["ti"].try_number == 1):
            return  # refused before anything was done; a later try may have an earlier one's work to undo
        self._claim(context, nonce).undo(
            resource_id=resource_id,
            token=known.get("token"),
            terminate=terminate,
            association_id=association_id,
            may_lag=not terminate,
        )

    def undo_of_lease(self, state: Any, *, launched: str | None, terminate: bool) -> tuple[str, dict[str, Any]]:
        """
        Return what the triggerer has to undo of a lease or a place in the queue.

        :param launched: the cluster that this try launched or adopted for it.
        """
        context = cast("Context", self._context)
        what = {
            "allocation_id": self.allocation_id,
            "lock_store": cast("LeaseClient", self.lease_client).uri,
            "speaker": asdict(attempt_of(context, state.nonce)),
            "launched": launched,
            "token": state.token,
            "terminate": terminate,
        }
        return "tenancy", what

    def lease_timed_out(self, event: dict[str, Any]) -> AddressBusyError:
        """Return the error of a wait in the queue that has ended."""
        holder = event["data"].get("queue", {}).get("holder", event["message"]).removeprefix("held by ")
        return AddressBusyError(self.allocation_id, holder=holder, waited_seconds=self.lock_timeout.total_seconds())
