"""
Watching batches of Livy, and the address that they need.

Polls ask for a batch by its name. An answer that does not show it says nothing but that this server does not have it:
behind a load balancer the next one may. So the batch counts as lost only when no look has shown it for a while, and an
answer that shows another batch, of whatever number, is never taken for it.

The requests are those of the Livy provider's synchronous hook, made in the poller's threads: its asynchronous hook has
no DELETE, ignores ``livy_conn_auth_type``, and in some versions the connection's headers, and makes an error with the
state "error" of a 404 and of a server that does not answer.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.aws.egress import Egress
from airflow_eip_provider.exceptions import LivyRefusedError, LivyUnavailableError
from airflow_eip_provider.hooks.livy import LivyBatchHook
from airflow_eip_provider.triggers.connection import ONE_AT_A_TIME, AwsConnection
from airflow_eip_provider.triggers.emr import judge_broken_fence, judge_gone, see_fence
from airflow_eip_provider.triggers.second_look import SecondLook
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.hooks.livy import Batch
    from airflow_eip_provider.triggers.emr import FenceSeen
    from airflow_eip_provider.triggers.observed import ClientFor, Observed, Wants

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LivyConnection:
    """
    A Livy server, and the AWS connection with which the address is watched.

    :param livy: the parameters of :class:`~airflow_eip_provider.hooks.livy.LivyBatchHook` as JSON, keys in order.
    """

    livy: str
    aws: AwsConnection

    def content(self) -> object:
        """Return what the Airflow connections say now."""
        with ONE_AT_A_TIME:
            livy = LivyBatchHook.get_connection(json.loads(self.livy)["livy_conn_id"]).get_uri()
        try:
            return livy, self.aws.content()
        except Exception:
            return livy, None  # a task without an address needs no connection to AWS

    def client(self, service: str, region_name: str | None) -> Any:
        """Return a new hook for "livy", else a new boto3 client."""
        if service != "livy":
            return self.aws.client(service, region_name)
        with ONE_AT_A_TIME:
            return LivyBatchHook(**json.loads(self.livy)).open()


@dataclass(kw_only=True, eq=False, repr=False)
class LivyBatchTrigger(WatchTrigger):
    """
    Wait until a batch ends, and fail when it is lost, or when the Elastic IP leaves its cluster.

    :param livy: the parameters of :class:`~airflow_eip_provider.hooks.livy.LivyBatchHook`.
    :param batch_name: of the batch.
    :param batch_id: its number on its server.
    :param app_id: of its YARN application, if that is known.
    :param lost_after: for how many seconds no look may show it before it counts as lost.
    :param submitted_at: seconds since the epoch; for a while after it EC2 may answer from before the binding.
    :param job_flow_id: the cluster whose Livy it is, if it is one alone.
    :param allocation_id: the Elastic IP that the batch needs.
    :param egress: the way out for which it was submitted: the fields of
        :class:`~airflow_eip_provider.aws.egress.Egress`.
    :param lock_store: the store's URI; the lease is watched, too.
    """

    _retry_args = None  # of the worker alone: tenacity's objects are no JSON

    livy: dict[str, Any]
    batch_name: str
    batch_id: int
    app_id: str | None = None
    lost_after: float = 120.0
    submitted_at: float = 0.0
    job_flow_id: str | None = None
    allocation_id: str | None = None
    egress: dict[str, str | None] | None = None
    lock_store: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._second_look = SecondLook(self.submitted_at)
        self._missed_since: float | None = None

    @property
    def connection(self) -> LivyConnection:
        """What this wait looks through."""
        return LivyConnection(json.dumps(self.livy, sort_keys=True), AwsConnection.of(**self._connection))

    def with_retries(self, retry_args: dict[str, Any] | None) -> LivyBatchTrigger:
        """Look with tenacity's retries, in a worker."""
        self._retry_args = retry_args
        return self

    def announce(self, wants: Wants) -> None:
        """Say that the address will be asked for."""
        if self.allocation_id is not None:
            wants.addresses.add(self.allocation_id)

    def block(self, client_for: ClientFor, *, renew: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Wait in a worker; see :meth:`WatchTrigger.block`."""

        def livy_too(service: str, region_name: str | None) -> Any:
            if service == "livy":
                return LivyBatchHook(**self.livy, retry_args=self._retry_args)
            return client_for(service, region_name)

        return super().block(livy_too, renew=renew)

    def judge(self, observed: Observed) -> Verdict:
        """Judge the lease and the address, then the batch."""
        seen = self._see_fence(observed)
        try:
            batch = self._look(observed)
        except LivyUnavailableError as error:
            # A cluster that ends, or loses its address, takes its Livy with it.
            broken = self._broken(observed, seen, {"batch": None, "bound": seen is None or seen.is_bound})
            if broken is None:
                raise
            log.warning("%s", error)
            return broken
        data: dict[str, Any] = {"batch": asdict(batch) if batch else None, "bound": seen is None or seen.is_bound}
        if batch is not None and not batch.is_active:
            if seen is not None and not seen.is_bound:
                data["place"] = seen.place(observed)
            return self._second_look.judge(Verdict("done", self._said(batch), data), now=clock.time())
        broken = self._broken(observed, seen, data)
        if broken is not None:
            return broken
        return self._second_look.judge(
            self._lost(data) if batch is None else Verdict("pending", self._said(batch), data), now=clock.time()
        )

    def undo_now(self, kind: str, what: dict[str, Any], *, spare_handed_over: bool) -> None:
        """Delete the batch if it has not ended; in a thread of the triggerer."""
        with ONE_AT_A_TIME:
            hook = LivyBatchHook(**self.livy).open()
        batch = hook.find(self.batch_name)
        if batch is not None and batch.is_active:
            hook.delete(self.batch_name)

    def _see_fence(self, observed: Observed) -> FenceSeen | None:
        if self.allocation_id is None or self.egress is None or self.job_flow_id is None:
            return None
        return see_fence(
            observed,
            allocation_id=self.allocation_id,
            egress=Egress(**self.egress),  # type: ignore[arg-type]
            job_flow_id=self.job_flow_id,
            lock_store=self.lock_store,
        )

    def _look(self, observed: Observed) -> Batch | None:
        """
        Look for the batch; another of its name, which a second sending may have made, is not it.

        :raises LivyUnavailableError: also when Livy refuses: it did not before, so passwords may be changing.
        """
        hook: LivyBatchHook = observed.client("livy")
        try:
            batch = hook.find(self.batch_name)
        except LivyRefusedError as error:
            hook.forget()
            raise LivyUnavailableError(f"looking for Livy batch '{self.batch_name}'", problem=str(error)) from error
        if batch is not None:
            other_app = self.app_id and batch.app_id and self.app_id != batch.app_id
            if batch.batch_id != self.batch_id or other_app:
                log.warning("Livy shows another batch of this name, with id %s: %s", batch.batch_id, batch)
                batch = None
        if batch is not None:
            self._missed_since = None
            self.app_id = self.app_id or batch.app_id
        return batch

    def _broken(self, observed: Observed, seen: FenceSeen | None, data: dict[str, Any]) -> Verdict | None:
        if self.job_flow_id is None:
            return None
        if seen is None or self.allocation_id is None:
            cluster = observed.status(self.job_flow_id) if data["batch"] is None else None
            return judge_gone(self.job_flow_id, cluster) if cluster is not None and cluster.is_ending else None
        broken = judge_broken_fence(
            observed, seen, allocation_id=self.allocation_id, job_flow_id=self.job_flow_id, data=data
        )
        return None if broken is None else self._second_look.judge(broken, now=clock.time())

    def _lost(self, data: dict[str, Any]) -> Verdict:
        now = clock.time()
        if self._missed_since is None:
            self._missed_since = now
        missing = now - self._missed_since
        message = f"Livy batch {self.batch_name} is not shown, for {missing:.0f} s now"
        if missing < self.lost_after:
            return Verdict("pending", f"{message}: another server may have answered", data)
        return Verdict("failed", message, {**data, "gone": "batch", "seconds": missing, "app_id": self.app_id})

    def _said(self, batch: Batch) -> str:
        application = f", application {batch.app_id}" if batch.app_id else ""
        return f"Livy batch {batch.name} (id {batch.batch_id}{application}) is {batch.state}"
