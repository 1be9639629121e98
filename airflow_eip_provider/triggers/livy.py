"""
Waiting for Livy batches, and for the address that they need.

Polls request a batch by its name. An answer without it only means that this server does not have it; behind a load
balancer the next one may. So the batch is lost only when no poll has shown it for a while, and another batch of the
same number is never taken for it.

The requests use the Livy provider's synchronous hook, in the poller's threads. Its asynchronous hook has no DELETE,
ignores ``livy_conn_auth_type`` and in some versions the connection's headers, and returns the state "error" for a 404
and for a server that does not answer.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.aws.egress import Egress
from airflow_eip_provider.exceptions import LivyRefusedError, LivyUnavailableError
from airflow_eip_provider.hooks.livy import LivyBatchHook, may_still_run, until_deleted
from airflow_eip_provider.triggers.connection import ONE_AT_A_TIME, AwsConnection
from airflow_eip_provider.triggers.eip import judge_gone
from airflow_eip_provider.triggers.emr import judge_broken_fence, see_fence
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
    A Livy server, and the AWS connection for the checks of the address.

    :param livy: the parameters of :class:`~airflow_eip_provider.hooks.livy.LivyBatchHook` as JSON, with sorted keys.
    """

    livy: str
    aws: AwsConnection

    def content(self) -> object:
        """Return the current content of the Airflow connections."""
        with ONE_AT_A_TIME:
            livy = LivyBatchHook.get_connection(json.loads(self.livy)["livy_conn_id"]).get_uri()
        try:
            return livy, self.aws.content()
        except Exception:
            return livy, None  # without an address no connection to AWS is needed

    def client(self, service: str, region_name: str | None) -> Any:
        """Return a new hook for "livy", or a new boto3 client."""
        if service != "livy":
            return self.aws.client(service, region_name)
        with ONE_AT_A_TIME:
            return LivyBatchHook(**json.loads(self.livy)).open()


@dataclass(kw_only=True, eq=False, repr=False)
class LivyBatchTrigger(WatchTrigger):
    """
    Wait until a batch ends, and fail when it is lost, or when the Elastic IP leaves its cluster.

    :param livy: the parameters of :class:`~airflow_eip_provider.hooks.livy.LivyBatchHook`.
    :param batch_id: the batch's number on its server.
    :param app_id: the ID of its YARN application, if it is known.
    :param lost_after: the seconds after which a batch that no poll shows is lost.
    :param submitted_at: seconds since the epoch; shortly after it EC2 may still answer from before the association.
    :param job_flow_id: the cluster whose Livy runs the batch; ``None`` behind a load balancer.
    :param allocation_id: the Elastic IP that the batch needs.
    :param egress: the route of the cluster's traffic at the submission: the fields of
        :class:`~airflow_eip_provider.aws.egress.Egress`.
    :param lock_store: the store's URI; the lease is checked, too.
    """

    _retry_args = None  # in a worker only: tenacity's objects cannot be stored as JSON

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
        self._missing_since: float | None = None

    @property
    def connection(self) -> LivyConnection:
        """The connections to Livy and to AWS."""
        return LivyConnection(json.dumps(self.livy, sort_keys=True), AwsConnection.of(**self._hook_parameters))

    def with_retries(self, retry_args: dict[str, Any] | None) -> LivyBatchTrigger:
        """Set tenacity's retries for polls in a worker."""
        self._retry_args = retry_args
        return self

    def announce(self, wants: Wants) -> None:
        """Add the address."""
        if self.allocation_id is not None:
            wants.addresses.add(self.allocation_id)

    def block(self, client_for: ClientFor, *, renew: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Wait in a worker; see :meth:`WatchTrigger.block`."""

        def client_or_livy_hook(service: str, region_name: str | None) -> Any:
            if service == "livy":
                return LivyBatchHook(**self.livy, retry_args=self._retry_args)
            return client_for(service, region_name)

        return super().block(client_or_livy_hook, renew=renew)

    def judge(self, observed: Observed) -> Verdict:
        """Judge the lease and the address, then the batch."""
        return self._second_look.judge(self._judge(observed), now=clock.time())

    def _judge(self, observed: Observed) -> Verdict:
        seen = self._see_fence(observed)
        data: dict[str, Any] = {"batch": None, "bound": seen is None or seen.is_bound}
        try:
            batch = self._find_batch(observed)
        except LivyUnavailableError as error:
            # When a cluster ends, or loses its address, its Livy becomes unreachable, too.
            if (broken := self._judge_fence(observed, seen, data)) is None:
                raise
            log.warning("%s", error)
            return broken
        if batch is None:
            return self._judge_fence(observed, seen, data) or self._judge_missing(data)
        data["batch"] = asdict(batch)
        application = f", application {batch.app_id}" if batch.app_id else ""
        message = f"Livy batch {batch.name} (id {batch.batch_id}{application}) is {batch.state}"
        if batch.is_active:
            return self._judge_fence(observed, seen, data) or Verdict("pending", message, data)
        if seen is not None and not seen.is_bound:
            data["place"] = seen.place(observed)
        return Verdict("done", message, data)

    def undo_now(self, kind: str, what: dict[str, Any], *, spare_handed_over: bool) -> None:
        """
        Delete the batch unless it has ended, in a thread of the triggerer.

        :raises LivyUnavailableError: when Livy does not answer for some seconds.
        :raises LivyRefusedError: when Livy refuses a request.
        """
        with ONE_AT_A_TIME:
            hook = LivyBatchHook(**self.livy).open()

        def delete() -> bool:
            batch = hook.find(self.batch_name)
            if batch is not None and batch.is_active:
                hook.delete(self.batch_name)
            return True

        try:
            until_deleted(delete)
        except Exception:
            log.error("%s", may_still_run(self.batch_name, hook.server))  # Airflow logs the error itself
            raise

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

    def _find_batch(self, observed: Observed) -> Batch | None:
        """
        Return the batch; ``None`` if the answer does not show it, or shows another one of the same name.

        :raises LivyUnavailableError: also when Livy refuses the request: a password may be changing just now.
        """
        hook: LivyBatchHook = observed.client("livy")
        try:
            batch = hook.find(self.batch_name)
        except LivyRefusedError as error:
            hook.forget()
            raise LivyUnavailableError(f"looking for Livy batch '{self.batch_name}'", problem=str(error)) from error
        if batch is None:
            return None
        other_app = self.app_id and batch.app_id and self.app_id != batch.app_id
        if batch.batch_id != self.batch_id or other_app:
            log.warning("Livy shows another batch of this name, with id %s: %s", batch.batch_id, batch)
            return None
        self._missing_since = None
        self.app_id = self.app_id or batch.app_id
        return batch

    def _judge_fence(self, observed: Observed, seen: FenceSeen | None, data: dict[str, Any]) -> Verdict | None:
        if self.job_flow_id is None:
            return None
        if seen is None or self.allocation_id is None:
            cluster = observed.status(self.job_flow_id) if data["batch"] is None else None
            return judge_gone(self.job_flow_id, cluster) if cluster is not None and cluster.is_ending else None
        return judge_broken_fence(
            observed, seen, allocation_id=self.allocation_id, job_flow_id=self.job_flow_id, data=data
        )

    def _judge_missing(self, data: dict[str, Any]) -> Verdict:
        now = clock.time()
        self._missing_since = self._missing_since or now
        seconds = now - self._missing_since
        message = f"No answer has shown Livy batch {self.batch_name} for {seconds:.0f} s"
        if seconds < self.lost_after:
            return Verdict("pending", f"{message}; another server may have answered", data)
        return Verdict("failed", message, {**data, "gone": "batch", "seconds": seconds, "app_id": self.app_id})
