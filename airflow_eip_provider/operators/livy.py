"""Run Spark batches through Livy servers that come and go, and only while the Elastic IP is on their cluster."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.links.emr import EmrClusterLink
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE, own_xcom
from airflow_eip_provider.aws.lag import SECOND_LOOK_SECONDS, until_shown
from airflow_eip_provider.exceptions import (
    AddressLostError,
    BatchFailedError,
    BatchLostError,
    ClusterEndedError,
    LivyUnavailableError,
    MissingExtraError,
    NotKnownYetError,
    PermanentError,
    WaitTimeoutError,
)
from airflow_eip_provider.hooks.livy import Batch, LivyBatchHook
from airflow_eip_provider.links.eip import ElasticIpLink
from airflow_eip_provider.links.livy import DriverLogLink, SparkUiLink
from airflow_eip_provider.notifications import checked_notifier
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.lease_settings import UNSET
from airflow_eip_provider.operators.livy_parameters import LivyAccess, check_place, check_watch, refused
from airflow_eip_provider.operators.phases import PhasedOperator, Result, State, raise_if_cluster_gone
from airflow_eip_provider.rendered import is_nothing, rendered

try:
    from airflow.providers.apache.livy.hooks.livy import LivyHook
    from airflow.providers.apache.livy.operators.livy import LivyOperator
    from airflow.providers.common.compat.openlineage.utils.spark import (
        inject_parent_job_information_into_spark_properties,
        inject_transport_information_into_spark_properties,
    )
except ImportError as _error:
    _missing = MissingExtraError("livy", doing="importing LivyBatchWithStaticIpOperator", module=_error.name)
    raise ImportError(str(_missing), name=_error.name) from _error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.exceptions import ElasticIpError
    from airflow_eip_provider.notifications import Notifier
    from airflow_eip_provider.operators.batch_mark import BatchMark
    from airflow_eip_provider.operators.emr.fence import Fence
    from airflow_eip_provider.triggers.watch import WatchTrigger

_WORK = "Livy batches"


@dataclass(slots=True)
class BatchState(State):
    """
    The batch that was submitted, if it was.

    :param deadline: of the wait for the cluster, then of that for the batch; seconds since the epoch.
    :param server_url: of its server; ``None`` for the connection's host.
    :param egress: the way out that it was submitted for: the fields of ``Egress``; ``None`` without an address.
    :param submitted_at: when this try submitted or found it, in seconds since the epoch.
    """

    deadline: float
    job_flow_id: str | None = None
    name: str = ""
    batch_id: int | None = None
    app_id: str | None = None
    server_url: str | None = None
    egress: dict[str, str | None] | None = None
    submitted_at: float = 0.0


class LivyBatchWithStaticIpOperator(PhasedOperator, LivyOperator):  # type: ignore[misc]
    """
    Run a Spark batch through Livy, and report that batch's end and no other's.

    A drop-in for ``LivyOperator`` that always waits for its batch. Livy numbers the batches of each server from 0:
    after a failover, a restart, or with two servers behind one load balancer, the stock operator polls another server's
    batch of the same number and reports that one's end. Here each batch has a name of its own, made from ``name`` (or
    the task id), the task instance and the try, and every request names it by that:

    - A poll that does not show it says only that this server does not have it. Each poll looks several times, on
      connections of their own, so behind a load balancer of two servers the right one answers; when no look shows the
      batch for ``lost_after``, the task fails with ``BatchLostError``, which Airflow retries. It is never a success.
    - A retry goes on with the batch of an earlier try that still runs or that ended in success, on whichever server
      it is. When the answer to a POST is lost, the batch is looked for before it is posted again, under the same name,
      which a server takes once.
    - ``DELETE`` names it, too: another server's batch of the same number is never deleted.

    Polling one server is better than hoping for the right one: with ``job_flow_id``, or ``server_url``, everything goes
    to that server, whatever the load balancer does, and a batch is lost as soon as that one does not have it. Behind a
    load balancer alone, two servers at once are fine; with three or more, raise ``lost_after``.

    With ``allocation_id`` the batch is fenced as steps are: it is posted to the Livy of the primary node of
    ``job_flow_id`` and to no other, only while the cluster leaves from the address and the lease is active; that is
    checked again right after the POST and watched while it runs, and the batch is deleted when the address leaves or
    the lease is gone. A cluster that is starting is waited for: Livy starts at the end of its start. Executors leave
    from their own nodes, so a fenced cluster has one node, or a NAT gateway.

    Returns the batch's id; pushes ``batch_id``, ``batch_name``, ``app_id``, and the links to Spark's page and the
    driver's log. The log that Livy keeps is in the task log: in YARN's cluster mode spark-submit's; the driver's is
    behind the link. ``dead``, ``killed`` and ``error`` fail the task with ``BatchFailedError``, each with a message of
    its own; what has ended is not deleted. On kill, timeout, or any other failure the batch is deleted. A driver in
    YARN may outlive its Livy server; the error names its application.

    Livy forgets batches ten minutes after their end (``livy.server.session.state-retain.sec``), so
    ``polling_interval`` must be shorter, and an outage of Airflow that is longer may end in ``BatchLostError``. Needs
    Livy 0.7 or later and the extra ``livy``.

    IAM: none without ``job_flow_id``; with it elasticmapreduce:DescribeCluster, ec2:DescribeInstances, and
    elasticmapreduce:ListInstances where EMR's tags on the instances cannot be seen; with ``allocation_id`` what
    ``EmrAddStepsWithStaticIpOperator`` needs for its fence. Network: from the workers and triggerers to port 8998 of
    the primary node, or to ``server_url``.

    :param file: and all others not named here: as in ``LivyOperator``. (templated, as there)
    :param name: the beginning of the batch's name; what does not belong into a URL is replaced. (templated)
    :param polling_interval: seconds between two polls; at least 10 when deferred. 0, the stock default, is refused: a
        batch that nobody polls ends unseen.
    :param durable: ``False`` is refused: a retry that ignored its batch would run it twice.
    :param livy_conn_auth_type: also holds in the triggerer; a class that can be imported by its path when deferrable.
    :param retry_args: tenacity's, for polls in the worker.
    :param batch_timeout: how long the batch may take, from its submission on; before that, how long its cluster may
        take to be ready.
    :param lost_after: for how long no poll may show the batch before it counts as lost.
    :param server_url: of one Livy server, as ``http://10.0.1.5:8998``, in place of the connection's host; with
        ``job_flow_id`` its primary node's private address, with the connection's schema and port. (templated)
    :param job_flow_id: the cluster whose Livy runs the batch, e.g. ``create.output``. (templated)
    :param allocation_id: the Elastic IP that the batch needs, ``eipalloc-…``; needs ``job_flow_id``. (templated)
    :param lock_store: as in ``EmrCreateWithStaticIpOperator``.
    :param on_lost: with ``allocation_id``, a notifier of Airflow's, or a function that takes the context: called once
        when the cluster does not have the address, or its lease, when the batch needs it.
    """

    state_class = BatchState
    permanent_errors = (PermanentError, ClusterEndedError)  # a retry would find the same cluster gone
    template_fields: Sequence[str] = aws_template_fields(
        "allocation_id", "job_flow_id", "server_url", *LivyOperator.template_fields
    )
    operator_extra_links = (EmrClusterLink(), ElasticIpLink(), SparkUiLink(), DriverLogLink())

    allocation_id: str | None

    _posted: tuple[str, str | None] | None = None  # the name of the batch that was posted, and where
    _is_unclear = False  # whether that had its effect is not known
    _has_ended = False

    def __init__(
        self,
        *,
        file: str,
        allocation_id: str | None = None,
        job_flow_id: str | None = None,
        server_url: str | None = None,
        lock_store: str | None = UNSET,
        polling_interval: int = 30,
        batch_timeout: timedelta = timedelta(days=1),
        lost_after: timedelta = timedelta(minutes=2),
        durable: bool | None = None,
        on_lost: Notifier | None = None,
        deferrable: bool = DEFAULT_DEFERRABLE,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(file=file, polling_interval=polling_interval, deferrable=deferrable, **kwargs)
        self.allocation_id = allocation_id
        self.job_flow_id = job_flow_id
        self.server_url = server_url
        self.lock_store = lock_store
        self.waiter_delay = polling_interval
        self.batch_timeout = batch_timeout
        self.lost_after = lost_after
        self.may_repeat = durable is False
        self.on_lost = checked_notifier(on_lost, parameter="on_lost")
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    @property
    def may_have_changed(self) -> bool:
        """Whether a batch may have been submitted."""
        return self._posted is not None

    def begin(self, context: Context) -> BatchState:
        """Refuse what is wrong."""
        self._check()
        return BatchState(
            try_number=context["ti"].try_number,
            deadline=clock.time() + self.batch_timeout.total_seconds(),
            job_flow_id=self.job_flow_id,
        )

    def advance(self, context: Context, state: BatchState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """Find the batch of an earlier try, else submit one when the cluster is ready; watch it, then judge it."""
        if state.batch_id is None:
            if event is not None:
                self._raise_not_ready(state, event)
            waiting = self._start(context, state)
            return waiting or self._watch_batch(state)
        if event is None:
            return self._watch_batch(state)
        facts = event["data"]
        if event["status"] == "failed":
            self._raise_lost(state, facts)
        batch = Batch(**facts["batch"]) if facts.get("batch") else None
        if event["status"] == "timeout":
            batch = self._livy(state.server_url).find(state.name)
        if batch is None or batch.is_active or batch.batch_id != state.batch_id:
            raise WaitTimeoutError(
                f"Livy batch '{state.name}' to end", last_seen=event["message"], bound="batch_timeout"
            )
        return self._judge_end(context, state, batch, facts)

    def _start(self, context: Context, state: BatchState) -> WatchTrigger | None:
        """
        Submit the batch, or find it, and note it in the state.

        :return: what to wait for before that, if the cluster is not ready: Livy starts at the end of the start.
        """
        from airflow_eip_provider.aws.clusters import READY_STATES
        from airflow_eip_provider.operators.batch_mark import BatchMark

        mark = BatchMark.of(context)
        body = self._body(context, mark)
        cluster, fence = self._cluster(context), self._fence()
        egress = fence.check(cluster) if fence is not None and cluster is not None else None
        if cluster is not None and cluster.state not in READY_STATES:
            return self._watch_cluster(state, cluster)
        server_url = self._server_url()
        livy = self._livy(server_url)
        looked_at = clock.time()
        batch = self._adopt(livy, mark, name=body["name"], first_try=self._first_try(context))
        if batch is None and fence is not None and clock.time() - looked_at >= SECOND_LOOK_SECONDS:
            cluster = fence.cluster()
            egress = fence.check(cluster)
        batch = batch or self._submit(context, livy, body)
        self._posted, self._is_unclear = (batch.name, server_url), False
        self._push(context, batch, server_url)
        if fence is not None and cluster is not None and batch.is_active:
            lost = fence.lost_since(cluster=cluster, step_ids=[batch.name])
            if lost is not None:
                raise lost  # undo deletes the batch
        # Only now: a check without an answer is made again before anything waits.
        state.name, state.batch_id, state.app_id = batch.name, batch.batch_id, batch.app_id
        state.server_url, state.submitted_at = server_url, clock.time()
        state.egress = asdict(egress) if egress is not None else None
        state.deadline = clock.time() + self.batch_timeout.total_seconds()
        return None

    def _judge_end(self, context: Context, state: BatchState, batch: Batch, facts: dict[str, Any]) -> Result:
        self._has_ended = True
        self._push(context, batch, state.server_url)
        if facts.get("bound") is False and "place" in facts:
            self._warn_address_left(context, state, place=facts["place"])
        self._show_log(state, batch)
        if batch.state != "success":
            raise BatchFailedError(batch.name, batch_id=batch.batch_id, app_id=batch.app_id, state=batch.state)
        return Result(batch.batch_id)

    def undo(self, context: Context, state: BatchState | None) -> None:
        """Delete the batch of this task by its name, unless it has ended."""
        if self._has_ended:
            return
        if state is not None and state.batch_id is not None:
            name, server_url = state.name, state.server_url
        elif self._posted is not None:
            name, server_url = self._posted
        else:
            name, server_url = own_xcom(context, "batch_name"), own_xcom(context, "livy_server")
            if not name:
                return
        livy = self._livy(server_url)
        if self._is_unclear and not self.kill.is_set:
            until_shown(lambda: livy.delete(name) or self.kill.is_set)
        elif not livy.delete(name):
            self.log.info("Livy batch %s is not there to be deleted", name)

    def _stored_undo(self, state: BatchState) -> tuple[str, dict[str, Any]] | None:  # type: ignore[override]
        return None if state.batch_id is None else ("livy_batch", {"name": state.name})

    def _check(self) -> None:
        for name in ("allocation_id", "job_flow_id", "server_url"):
            if getattr(self, name) is not None:
                setattr(self, name, rendered(getattr(self, name), name=name, doing="submitting a Livy batch"))
        check_watch(self._polling_interval, may_repeat=self.may_repeat)
        preflight.check_duration("batch_timeout", self.batch_timeout)
        preflight.check_duration("lost_after", self.lost_after)
        check_place(self.allocation_id, job_flow_id=self.job_flow_id, server_url=self.server_url)
        if self.deferrable:
            self._access.check_storable()

    @property
    def _access(self) -> LivyAccess:
        return LivyAccess(
            self._livy_conn_id,
            endpoint_prefix=self._livy_endpoint_prefix,
            auth_type=self._livy_conn_auth_type,
            extra_headers=self._extra_headers,
            extra_options=self._extra_options,
        )

    def _livy(self, server_url: str | None) -> LivyBatchHook:
        return self._access.hook(server_url, retry_args=self.retry_args)

    def _body(self, context: Context, mark: BatchMark) -> dict[str, Any]:
        parameters: dict[str, Any] = dict(self.spark_params)
        if self.openlineage_inject_parent_job_info:
            parameters["conf"] = inject_parent_job_information_into_spark_properties(parameters["conf"], context)
        if self.openlineage_inject_transport_info:
            parameters["conf"] = inject_transport_information_into_spark_properties(parameters["conf"], context)
        title = parameters.pop("name", None)
        try:
            body = LivyHook.build_post_batch_body(**parameters)
        except ValueError as error:
            raise refused("the batch", problem=str(error), remedy="see LivyOperator's parameters") from error
        return {**body, "name": mark.on(self.task_id if is_nothing(title) else str(title))}

    def _fence(self) -> Fence | None:
        from airflow_eip_provider.operators.emr.fence import Fence

        if self.allocation_id is None or self.job_flow_id is None:
            return None
        return Fence(
            self.allocation_id,
            job_flow_id=self.job_flow_id,
            eip=self.eip,
            emr=self.emr,
            lease_client=self.lease_client,
            kill=self.kill,
            work=_WORK,
        )

    def _cluster(self, context: Context) -> Cluster | None:
        """
        Return the cluster, if one is given.

        :raises NotKnownYetError: while EMR does not know it.
        :raises ClusterEndedError: when it has ended, or is ending.
        """
        if self.job_flow_id is None:
            return None
        cluster: Cluster | None = self.emr.get_cluster(self.job_flow_id)
        if cluster is None:
            raise NotKnownYetError(self.job_flow_id)
        if cluster.is_ending:
            raise ClusterEndedError(self.job_flow_id, state=cluster.state, reason=cluster.reason)
        self.link_cluster(context, self.job_flow_id, log_uri=None)
        if self.allocation_id is not None:
            self.link_address(context)
        return cluster

    def _server_url(self) -> str | None:
        """Return the server that everything goes to; ``None`` for the connection's host."""
        from airflow_eip_provider.triggers.observed import Observed

        if self.server_url is not None or self.job_flow_id is None:
            return self.server_url
        primary = Observed(self.aws.client_for).primary(self.job_flow_id)
        address = primary[1].private_ip if primary is not None and primary[1] is not None else None
        if address is None:
            raise NotKnownYetError(primary[0] if primary is not None else self.job_flow_id)
        return self._livy(None).direct_url(address)

    def _watch_cluster(self, state: BatchState, cluster: Cluster) -> WatchTrigger:
        from airflow_eip_provider.triggers.emr import EmrClusterTrigger

        self.log.info("Cluster %s is %s; its Livy starts at the end of its start", cluster.job_flow_id, cluster.state)
        shared = self.watch(state, deadline=state.deadline)
        return EmrClusterTrigger(job_flow_id=cluster.job_flow_id, target="cluster_ready", **shared)

    @staticmethod
    def _raise_not_ready(state: BatchState, event: dict[str, Any]) -> None:
        raise_if_cluster_gone(event["data"])
        if event["status"] == "timeout":
            raise WaitTimeoutError(
                f"cluster '{state.job_flow_id}' to be ready", last_seen=event["message"], bound="batch_timeout"
            )

    def _first_try(self, context: Context) -> int:
        """Return the first try since the task was last cleared: a clear allows as many retries again."""
        return max(1, int(context["ti"].max_tries) - int(self.retries or 0) + 1)

    def _adopt(self, livy: LivyBatchHook, mark: BatchMark, *, name: str, first_try: int) -> Batch | None:
        """Find the batch that was submitted already, to go on with it instead of submitting it twice."""
        if self._posted is None and mark.try_number == 1:
            return livy.find(name, looks=1)  # none; this is the first request, and shows whether Livy knows names
        found: Batch | None = None

        def is_shown() -> bool:
            nonlocal found
            batches = livy.named(mark.is_own)
            has_submitted = self._posted is not None
            found = mark.to_adopt(batches, first_try=first_try, has_submitted=has_submitted)
            return found is not None

        if self._is_unclear:
            until_shown(is_shown, pause=self.kill.pause)
        else:
            is_shown()
        if found is not None:
            self.log.info(
                "Going on with Livy batch %s (id %s), which was submitted already", found.name, found.batch_id
            )
        return found

    def _submit(self, context: Context, livy: LivyBatchHook, body: dict[str, Any]) -> Batch:
        """POST has no token: the name lets a retry, and the next look, find what was submitted."""
        self.kill.check()
        before = self._posted
        self._posted, self._is_unclear = (body["name"], livy.server_url), True
        context["ti"].xcom_push(key="batch_name", value=body["name"])
        context["ti"].xcom_push(key="livy_server", value=livy.server_url)
        try:
            batch = livy.submit(body)
        except LivyUnavailableError as error:
            if not error.was_sent:
                self._posted, self._is_unclear = before, before is not None
            raise
        except PermanentError:
            self._is_unclear = False
            raise
        self._is_unclear = False
        self.log.info("Submitted Livy batch %s (id %s) to %s", batch.name, batch.batch_id, livy.server)
        return batch

    def _push(self, context: Context, batch: Batch, server_url: str | None) -> None:
        ti = context["ti"]
        known = {"batch_id": batch.batch_id, "batch_name": batch.name, "app_id": batch.app_id}
        for key, value in {**known, "livy_server": server_url}.items():
            ti.xcom_push(key=key, value=value)
        SparkUiLink.keep(context, batch.spark_ui_url)
        DriverLogLink.keep(context, batch.driver_log_url)

    def _watch_batch(self, state: BatchState) -> WatchTrigger:
        from airflow_eip_provider.triggers.livy import LivyBatchTrigger

        trigger = LivyBatchTrigger(
            livy=self._access.stored(state.server_url),
            batch_name=state.name,
            batch_id=_known(state.batch_id),
            app_id=state.app_id,
            lost_after=self.lost_after.total_seconds(),
            submitted_at=state.submitted_at,
            job_flow_id=state.job_flow_id,
            allocation_id=self.allocation_id,
            egress=state.egress,
            lock_store=self.lease_client.uri if self.allocation_id is not None else None,
            **self.watch(state, deadline=state.deadline),
        )
        return trigger.with_retries(self.retry_args)

    def _raise_lost(self, state: BatchState, facts: dict[str, Any]) -> None:
        if facts.get("gone") == "batch":
            raise BatchLostError(
                state.name,
                batch_id=_known(state.batch_id),
                app_id=facts.get("app_id"),
                server=self._livy(state.server_url).server,
                seconds=facts["seconds"],
            )
        self._has_ended = facts.get("gone") == "cluster"  # and its Livy with it: there is nothing to delete
        raise_if_cluster_gone(facts)
        self.kill.check()
        raise self._address_lost(state, place=facts["place"], lease=facts.get("gone") == "lease")

    def _address_lost(self, state: BatchState, *, place: str, lease: bool) -> ElasticIpError:
        """
        Return the error of an address or a lease that was lost while the batch needed it.

        :param lease: ``place`` says to whom the address is leased now, not where it is.
        """
        consequence = f"deleted the Livy batch that still needed it: {state.name}"
        fence = self._fence()
        refusal = (fence.lease_refusal() if fence is not None else None) or (place if lease else None)
        if fence is not None and refusal is not None:
            return fence.not_leased(refusal, consequence)
        return AddressLostError(
            str(self.allocation_id), job_flow_id=str(state.job_flow_id), place=place, consequence=consequence
        )

    def _warn_address_left(self, context: Context, state: BatchState, *, place: str) -> None:
        """Say that the batch ended without the address, as far as it is known; not when its lease was released."""
        from airflow_eip_provider.aws.egress import Egress

        address = self.eip.get_address(str(self.allocation_id))
        if address is not None and state.egress and address.association_id == Egress(**state.egress).association_id:  # type: ignore[arg-type]
            return  # the answer was stale
        fence = self._fence()
        if fence is not None and fence.lease_refusal() is not None:
            self.log.info("Elastic IP %s was released when the batch had ended", self.allocation_id)
            return
        self.log.warning(
            "Elastic IP %s is %s: it left cluster %s before Livy batch %s was seen to end. Unless it was released "
            "after its end, its last connections did not leave from it; check what it did",
            self.allocation_id,
            place,
            state.job_flow_id,
            state.name,
        )
        left = {
            "allocation_id": self.allocation_id,
            "job_flow_id": state.job_flow_id,
            "place": place,
            "batch_name": state.name,
        }
        context["ti"].xcom_push(key="address_left", value=left)

    def _show_log(self, state: BatchState, batch: Batch) -> None:
        """Write what Livy keeps of the log into the task's; a log that cannot be read fails nothing."""
        try:
            lines = self._livy(state.server_url).log_lines(batch)
        except Exception as error:
            self.log.warning("The log of Livy batch %s cannot be read: %s", batch.name, error)
            lines = []
        for line in lines:
            self.log.info("%s", line.strip("\n"))
        if batch.driver_log_url:
            self.log.info("The driver's log in YARN: %s", batch.driver_log_url)


def _known(batch_id: int | None) -> int:
    return -1 if batch_id is None else batch_id
