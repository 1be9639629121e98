"""Run Spark batches through changing Livy servers, and only while the Elastic IP is on their cluster."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.links.emr import EmrClusterLink
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE, own_xcom, remember, remembered
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
from airflow_eip_provider.hooks.livy import Batch, LivyBatchHook, may_still_run, until_deleted
from airflow_eip_provider.links.eip import ElasticIpLink
from airflow_eip_provider.links.livy import DriverLogLink, SparkUiLink
from airflow_eip_provider.notifications import checked_notifier
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.lease_settings import UNSET
from airflow_eip_provider.operators.livy_parameters import (
    as_stored,
    check_mappings,
    check_place,
    check_storable,
    check_watch,
    refused,
)
from airflow_eip_provider.operators.phases import PhasedOperator, Result, State
from airflow_eip_provider.rendered import check_flags, is_nothing, rendered

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
    from airflow_eip_provider.notifications import Notifier
    from airflow_eip_provider.operators.batch_mark import BatchMark
    from airflow_eip_provider.operators.emr.fence import Fence
    from airflow_eip_provider.triggers.watch import WatchTrigger


# The number of a try that has failed and left no batch that Livy may show later (Airflow >= 3.3).
_LEFT_NONE = "eip_livy_left_none"


@dataclass(slots=True)
class BatchState(State):
    """
    The batch, once it is submitted.

    :param deadline: the end of the wait for the cluster, then of that for the batch; seconds since the epoch.
    :param server_url: the batch's server; ``None`` for the connection's host.
    :param egress: the route of the cluster's traffic at the submission: the fields of ``Egress``; ``None`` without an
        address.
    :param submitted_at: when this try submitted or found the batch, in seconds since the epoch.
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
    Run a Spark batch through Livy, and return the result of exactly that batch.

    A replacement for ``LivyOperator`` that always waits for its batch. Livy numbers the batches of each server from 0.
    After a failover or a restart, or with two servers behind a load balancer, the stock operator may poll a batch of
    another server with the same number, and return its result. This operator gives each batch a unique name, made of
    ``name`` (or the task ID), the task instance and the try, and uses the name in every request:

    - If an answer does not show the batch, only this server does not have it. Each poll sends several requests on new
      connections, so behind a load balancer of two servers the right one answers. When no poll shows the batch for
      ``lost_after``, the task fails with ``BatchLostError``, which Airflow retries.
    - A retry continues with the batch of an earlier try that is still running or has succeeded, on any server. When the
      answer to a POST is lost, the operator searches for the batch before it posts again, under the same name. A server
      accepts each name once. After a lost answer it searches for a minute, which blocks the worker in either mode; a
      retry does so, too, if it does not find the batch of the previous try. Since Airflow 3.3 it knows whether that try
      has left none, and then searches once.
    - ``DELETE`` uses the name, too: another server's batch of the same number is never deleted.

    With ``job_flow_id`` or ``server_url`` all requests go to that one server, and the batch is lost as soon as this
    server does not have it. This is more reliable than a load balancer. Behind a load balancer two servers at once are
    supported; with three or more, raise ``lost_after``.

    With ``allocation_id`` the batch is fenced as steps are. It is posted only to the Livy of the primary node of
    ``job_flow_id``, and only while the cluster's traffic leaves from the address and the lease is active. Both are
    checked again right after the POST and while the batch runs; the batch is deleted when the address leaves or the
    lease ends. If the cluster is starting, the operator waits, because Livy starts last. Executors use the addresses of
    their own nodes, so a fenced cluster must have one node, or a NAT gateway.

    Returns the batch's ID; pushes ``batch_id``, ``batch_name``, ``app_id``, and the links to the Spark UI and the
    driver's log. Livy's log of the batch is copied to the task log; in YARN's cluster mode it is the log of
    spark-submit. ``dead``, ``killed`` and ``error`` fail the task with ``BatchFailedError`` and separate messages; a
    batch that has ended is not deleted. After a kill, a timeout or any other failure the batch is deleted; if Livy does
    not answer, the log names the batch. A driver in YARN may still run after its Livy server has ended; the error names
    its application.

    Redirects are not followed, because a POST or a DELETE may become a GET: the task fails, and names the new location.

    Livy deletes batches ten minutes after their end (``livy.server.session.state-retain.sec``). So ``polling_interval``
    must be shorter, and a longer outage of Airflow may end in ``BatchLostError``. Needs Livy 0.7 or later and the extra
    ``livy``.

    A retry that continues with a batch names itself in a tag of ``job_flow_id``, so that an older try whose process was
    only suspended does not delete the batch. Without ``job_flow_id`` it does.

    IAM: none without ``job_flow_id``; with it elasticmapreduce:DescribeCluster, …:AddTags, ec2:DescribeInstances, and
    elasticmapreduce:ListInstances where EC2 does not show EMR's tags on the instances; with ``allocation_id`` also the
    permissions of ``EmrAddStepsWithStaticIpOperator`` for its fence. Network: from the workers and triggerers to port
    8998 of the primary node, or to ``server_url``.

    :param file: this and all parameters not listed here: as in ``LivyOperator``. (templated, as there)
    :param name: the beginning of the batch's name; characters that are not allowed in URLs are replaced. (templated)
    :param polling_interval: seconds between two polls; at least 10 when deferred. 0, the stock default, is not allowed,
        because nothing would notice the end of the batch.
    :param durable: ``False`` is not allowed: a retry that ignores its batch would run it twice.
    :param livy_conn_auth_type: also used in the triggerer; when deferrable, a class that can be imported by its path.
    :param retry_args: arguments for tenacity, for polls in the worker.
    :param batch_timeout: how long the batch may take after its submission, and before it, how long its cluster may
        take to be ready.
    :param lost_after: how long no poll may show the batch before it counts as lost.
    :param server_url: the URL of one Livy server, such as ``http://10.0.1.5:8998``, instead of the connection's host.
        With ``job_flow_id`` it is the primary node's private address, with the connection's schema and port.
        (templated)
    :param job_flow_id: the cluster whose Livy runs the batch, e.g. ``create.output``. (templated)
    :param allocation_id: the Elastic IP that the batch needs, ``eipalloc-…``; needs ``job_flow_id``. (templated)
    :param lock_store: as in ``EmrCreateWithStaticIpOperator``.
    :param on_lost: with ``allocation_id``, an Airflow notifier or a function that takes the context. It is called once
        when the cluster does not have the address, or its lease, although the batch needs it.
    """

    state_class = BatchState
    permanent_errors = (PermanentError, ClusterEndedError)  # the cluster will have ended in a retry, too
    template_fields: Sequence[str] = aws_template_fields(
        "allocation_id", "job_flow_id", "server_url", *LivyOperator.template_fields
    )
    operator_extra_links = (EmrClusterLink(), ElasticIpLink(), SparkUiLink(), DriverLogLink())

    allocation_id: str | None

    _posted: tuple[str, str | None] | None = None  # the name of the posted batch, and its server
    _is_unclear = False  # it is not known whether the POST had an effect
    _has_looked = False  # this try has looked for the batches of earlier ones for as long as they may appear
    _has_ended = False
    _to_delete: tuple[str, str] | None = None  # the name and the server of the batch that undo deletes

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
        """Return whether a batch may have been submitted."""
        return self._posted is not None

    def begin(self, context: Context) -> BatchState:
        """Check the parameters."""
        for name in ("allocation_id", "job_flow_id", "server_url"):
            if getattr(self, name) is not None:
                setattr(self, name, rendered(getattr(self, name), name=name, doing="submitting a Livy batch"))
        check_watch(self._polling_interval, may_repeat=self.may_repeat)
        check_flags(self, "deferrable")
        check_mappings(extra_headers=self._extra_headers, extra_options=self._extra_options, retry_args=self.retry_args)
        preflight.check_duration("batch_timeout", self.batch_timeout)
        preflight.check_duration("lost_after", self.lost_after)
        check_place(self.allocation_id, job_flow_id=self.job_flow_id, server_url=self.server_url)
        if self.deferrable:
            check_storable(self._hook_parameters(None))
        return BatchState(
            try_number=context["ti"].try_number,
            deadline=clock.time() + self.batch_timeout.total_seconds(),
            job_flow_id=self.job_flow_id,
        )

    def advance(self, context: Context, state: BatchState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """Adopt the batch of an earlier try, or submit one when the cluster is ready; wait for it and return its ID."""
        from airflow_eip_provider.triggers.verdict import raise_if_cluster_gone

        if state.batch_id is None:
            if event is not None:
                raise_if_cluster_gone(event["data"])
                if event["status"] == "timeout":
                    what = f"cluster '{state.job_flow_id}' to be ready"
                    raise WaitTimeoutError(what, last_seen=event["message"], bound="batch_timeout")
            return self._start(context, state) or self._watch_batch(state)
        if event is None:
            return self._watch_batch(state)
        facts = event["data"]
        if event["status"] == "failed":
            self._raise_lost(state, facts)
        batch = Batch(**facts["batch"]) if facts.get("batch") else None
        if event["status"] == "timeout":
            batch = self._livy(state.server_url).find(state.name)
        if batch is None or batch.is_active or batch.batch_id != state.batch_id:
            what = f"Livy batch '{state.name}' to end"
            raise WaitTimeoutError(what, last_seen=event["message"], bound="batch_timeout")
        self._has_ended = True
        self._push(context, batch, state.server_url)
        if facts.get("bound") is False and "place" in facts:
            self._warn_address_left(context, state, place=facts["place"])
        self._show_log(state, batch)
        if batch.state != "success":
            raise BatchFailedError(batch.name, batch_id=batch.batch_id, app_id=batch.app_id, state=batch.state)
        return Result(batch.batch_id)

    def _start(self, context: Context, state: BatchState) -> WatchTrigger | None:
        """
        Submit or adopt the batch, and record it in the state.

        :return: the wait for the cluster, if it is not ready.
        """
        from airflow_eip_provider.aws.clusters import READY_STATES
        from airflow_eip_provider.operators.adoption import note_adoption
        from airflow_eip_provider.operators.batch_mark import BatchMark
        from airflow_eip_provider.triggers.emr import EmrClusterTrigger

        mark = BatchMark.of(context)
        body = self._body(context, mark)
        cluster, fence = self._cluster(context), self._fence()
        egress = fence.check(cluster) if fence is not None and cluster is not None else None
        if cluster is not None and cluster.state not in READY_STATES:
            self.log.info("Cluster %s is %s; Livy starts last", cluster.job_flow_id, cluster.state)
            shared = self.watch(state, deadline=state.deadline)
            return EmrClusterTrigger(job_flow_id=cluster.job_flow_id, target="cluster_ready", **shared)
        server_url = self._find_server()
        livy = self._livy(server_url)
        checked_at = clock.time()
        batch = self._adopt(context, livy, mark, name=body["name"])
        if batch is None and fence is not None and clock.time() - checked_at >= SECOND_LOOK_SECONDS:
            cluster = fence.cluster()
            egress = fence.check(cluster)
        is_adopted = batch is not None and self._posted is None and mark.try_number > 1
        batch = batch or self._submit(context, livy, body)
        self._posted, self._is_unclear = (batch.name, server_url), False
        if is_adopted and self.job_flow_id is not None:
            self.kill.check()
            note_adoption(self.emr, self.job_flow_id, mark)
        self._push(context, batch, server_url)
        if fence is not None and cluster is not None and batch.is_active:
            lost = fence.lost_since(cluster=cluster, step_ids=[batch.name])
            if lost is not None:
                raise lost  # undo deletes the batch
        # Last, so that a check without an answer is repeated before the wait begins.
        state.name, state.batch_id, state.app_id = batch.name, batch.batch_id, batch.app_id
        state.server_url, state.submitted_at = server_url, clock.time()
        state.egress = asdict(egress) if egress is not None else None
        state.deadline = clock.time() + self.batch_timeout.total_seconds()
        return None

    def undo(self, context: Context, state: BatchState | None) -> None:
        """Delete the batch of this task by its name, unless it has ended, or a newer try continues with it."""
        if self._leave_none(context, state) and not self.kill.is_set:
            try:
                remember(context, _LEFT_NONE, context["ti"].try_number)
            except Exception:
                self.log.warning("A retry of this task may search a minute for its batch", exc_info=True)

    def _leave_none(self, context: Context, state: BatchState | None) -> bool:
        """Delete the batch; return whether no active one of this or an earlier try can appear later."""
        from airflow_eip_provider.operators.adoption import is_adopted
        from airflow_eip_provider.operators.batch_mark import BatchMark

        if self._has_ended:
            return True
        if state is not None and state.batch_id is not None:
            name, server_url = state.name, state.server_url
        elif self._posted is not None:
            name, server_url = self._posted
        else:
            name, server_url = own_xcom(context, "batch_name"), own_xcom(context, "livy_server")
            if not name:
                return self._has_looked or self._knows_of_none(context)
        if self.job_flow_id is not None and is_adopted(self.emr, self.job_flow_id, BatchMark.of(context)):
            return False
        livy = self._livy(server_url)
        self._to_delete = (name, livy.server)
        is_done = self._delete(livy, name)
        if not is_done:
            self.log.warning("Livy has not answered the POST and does not show its batch. %s", self.what_is_left())
        return is_done

    def _knows_of_none(self, context: Context) -> bool:
        """Return whether there was no earlier try, or the previous one has left no batch that may appear later."""
        earlier = int(context["ti"].try_number) - 1
        return earlier == 0 or bool(remembered(context, _LEFT_NONE) == earlier)

    def _delete(self, livy: LivyBatchHook, name: str) -> bool:
        """
        Delete a batch. After a POST without an answer it may appear late, so it is looked for until it does.

        :return: whether none is left, and none can appear later.
        """

        def delete() -> bool:
            if livy.delete(name):
                self._is_unclear = False
            elif not self._is_unclear:
                self.log.info("Livy batch %s does not exist, so it is not deleted", name)
            return not self._is_unclear

        return until_deleted(delete) if self.kill.is_set else until_shown(lambda: delete() or self.kill.is_set)

    def what_is_left(self) -> str:
        """Return how to delete the batch, if there may be one."""
        return super().what_is_left() if self._to_delete is None else may_still_run(*self._to_delete)

    def _stored_undo(self, state: BatchState) -> tuple[str, dict[str, Any]] | None:  # type: ignore[override]
        return None if state.batch_id is None else ("livy_batch", {"name": state.name})

    def _hook_parameters(self, server_url: str | None) -> dict[str, Any]:
        return {
            "livy_conn_id": self._livy_conn_id,
            "server_url": server_url,
            "endpoint_prefix": self._livy_endpoint_prefix,
            "auth_type": self._livy_conn_auth_type,
            "extra_headers": dict(self._extra_headers),
            "extra_options": dict(self._extra_options),
        }

    def _livy(self, server_url: str | None) -> LivyBatchHook:
        return LivyBatchHook(**self._hook_parameters(server_url), retry_args=self.retry_args)

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
            work="Livy batches",
        )

    def _cluster(self, context: Context) -> Cluster | None:
        """
        Return the cluster, if one is given.

        :raises NotKnownYetError: while EMR does not know it.
        :raises ClusterEndedError: when it is ending or has ended.
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

    def _find_server(self) -> str | None:
        """Return the URL of the server for all requests; ``None`` for the connection's host."""
        if self.server_url is not None or self.job_flow_id is None:
            return self.server_url
        instance_id, instance = self.observe().primary(self.job_flow_id) or (self.job_flow_id, None)
        if instance is None or instance.private_ip is None:
            raise NotKnownYetError(instance_id)
        return self._livy(None).direct_url(instance.private_ip)

    def _adopt(self, context: Context, livy: LivyBatchHook, mark: BatchMark, *, name: str) -> Batch | None:
        """
        Return a batch that this task has submitted already, so that it is not submitted twice.

        Livy may not have registered yet what an earlier try posted, or this one without an answer; behind a load
        balancer, all connections of a search may lead to the other server. The search is repeated for a minute, unless
        no batch can appear later: the last one is shown, or the previous try has remembered that it left none.
        """
        if self._posted is None and mark.try_number == 1:
            return livy.find(name, looks=1)  # none yet; the first request shows whether Livy supports names
        has_submitted = self._posted is not None
        awaited = mark.try_number if has_submitted else mark.try_number - 1
        may_appear = self._is_unclear or not (self._has_looked or self._knows_of_none(context))
        batch: Batch | None = None

        def is_shown() -> bool:
            nonlocal batch
            own = livy.named(mark.is_own)
            batch = mark.to_adopt(own, first_try=self.first_try(context), has_submitted=has_submitted)
            if batch is not None or not may_appear or awaited in {mark.try_of(each.name) for each in own}:
                return True
            self.log.info("Livy may not show yet a batch that this task has submitted; looking for it again")
            return False

        until_shown(is_shown, pause=self.kill.pause)
        self._has_looked = True
        if batch is not None:
            self.log.info("Continuing with Livy batch %s (id %s) of an earlier submission", batch.name, batch.batch_id)
        return batch

    def _submit(self, context: Context, livy: LivyBatchHook, body: dict[str, Any]) -> Batch:
        """Post the batch; because POST has no token, a retry finds the batch by its name."""
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
        self.log.info("Submitted Livy batch %s (id %s) to %s", batch.name, batch.batch_id, livy.server)
        return batch

    def _push(self, context: Context, batch: Batch, server_url: str | None) -> None:
        xcoms = {"batch_id": batch.batch_id, "batch_name": batch.name, "app_id": batch.app_id}
        for key, value in {**xcoms, "livy_server": server_url}.items():
            context["ti"].xcom_push(key=key, value=value)
        SparkUiLink.keep(context, batch.spark_ui_url)
        DriverLogLink.keep(context, batch.driver_log_url)

    def _watch_batch(self, state: BatchState) -> WatchTrigger:
        from airflow_eip_provider.triggers.livy import LivyBatchTrigger

        trigger = LivyBatchTrigger(
            livy=as_stored(self._hook_parameters(state.server_url)),
            batch_name=state.name,
            batch_id=cast("int", state.batch_id),
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
        from airflow_eip_provider.triggers.verdict import raise_if_cluster_gone

        if facts.get("gone") == "batch":
            raise BatchLostError(
                state.name,
                batch_id=cast("int", state.batch_id),
                app_id=facts.get("app_id"),
                server=self._livy(state.server_url).server,
                seconds=facts["seconds"],
            )
        self._has_ended = facts.get("gone") == "cluster"  # its Livy has ended, too
        raise_if_cluster_gone(facts)
        self.kill.check()
        consequence = f"deleted the Livy batch that still needed it: {state.name}"
        fence, place = self._fence(), facts["place"]
        refusal = (fence.lease_refusal() if fence else None) or (place if facts.get("gone") == "lease" else None)
        if fence is not None and refusal is not None:
            raise fence.not_leased(refusal, consequence)
        raise AddressLostError(
            str(self.allocation_id), job_flow_id=str(state.job_flow_id), place=place, consequence=consequence
        )

    def _warn_address_left(self, context: Context, state: BatchState, *, place: str) -> None:
        """Warn that the batch may have ended without the address, unless its lease was released."""
        address = self.eip.get_address(str(self.allocation_id))
        if address is not None and state.egress and address.association_id == state.egress["association_id"]:
            return  # the answer was stale
        fence = self._fence()
        if fence is not None and fence.lease_refusal() is not None:
            self.log.info("Elastic IP %s was released after the batch had ended", self.allocation_id)
            return
        self.log.warning(
            "Elastic IP %s is %s: it left cluster %s before the end of Livy batch %s was observed. Unless it was "
            "released after the end, the batch's last connections did not use the address; check the batch's results",
            self.allocation_id,
            place,
            state.job_flow_id,
            state.name,
        )
        left = {"allocation_id": self.allocation_id, "job_flow_id": state.job_flow_id}
        context["ti"].xcom_push(key="address_left", value={**left, "place": place, "batch_name": state.name})

    def _show_log(self, state: BatchState, batch: Batch) -> None:
        """Copy Livy's log of the batch to the task log; a log that cannot be read is only a warning."""
        try:
            for line in self._livy(state.server_url).log_lines(batch):
                self.log.info("%s", line.strip("\n"))
        except Exception as error:
            self.log.warning("The log of Livy batch %s cannot be read: %s", batch.name, error)
        if batch.driver_log_url:
            self.log.info("The driver's log in YARN: %s", batch.driver_log_url)
