"""Creating an EMR cluster with an Elastic IP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.operators.emr import EmrCreateJobFlowOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from botocore.exceptions import ClientError

from airflow_eip_provider import clock, metrics
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE, earliest_start, own_xcom, remembered
from airflow_eip_provider.aws.tags import BINDING_TAG, CLUSTER_GATEWAY, OWNER_DIGEST_TAG, TOKEN_TAG
from airflow_eip_provider.exceptions import ClusterEndedError, InvalidInputError, WaitTimeoutError
from airflow_eip_provider.hooks.address_pool import AddressPool
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.notifications import checked_limit, checked_notifier
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.emr.launching import LaunchingOperator
from airflow_eip_provider.operators.emr.lineage import lease_lineage
from airflow_eip_provider.operators.emr.next_candidate import CandidateFailed, CreateState
from airflow_eip_provider.operators.lease_settings import UNSET, attempt_of
from airflow_eip_provider.operators.leasing import observed_due_seconds, with_estimate
from airflow_eip_provider.operators.phases import CLUSTER_LINKS, Result
from airflow_eip_provider.operators.rendering import StructuredFields
from airflow_eip_provider.rendered import check_choice, check_flags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.record import Attempt
    from airflow_eip_provider.lease_client.interface import Undo
    from airflow_eip_provider.notifications import Notifier
    from airflow_eip_provider.operators.bindings import Binding
    from airflow_eip_provider.operators.bindings.interface import Bound, ClusterWait, GatewayWait, Site
    from airflow_eip_provider.operators.launch import Launcher
    from airflow_eip_provider.triggers.emr import Target
    from airflow_eip_provider.triggers.observed import Observed
    from airflow_eip_provider.triggers.verdict import Verdict
    from airflow_eip_provider.triggers.watch import WatchTrigger

# The values of ``waiting_for`` of a wait for the start; another one begins with "behind NAT gateway".
_START_WAITS = frozenset({"primary_running", "cluster_ready"})
# The stock operator's waiters: "job_flow_waiting" and "job_flow_terminated".
_WAIT_TARGETS: dict[str, Target] = {
    "WAIT_FOR_COMPLETION": "cluster_waiting",
    "WAIT_FOR_STEPS_COMPLETION": "cluster_completed",
}


class EmrCreateWithStaticIpOperator(StructuredFields, LaunchingOperator, EmrCreateJobFlowOperator):
    """
    Create an EMR cluster with an Elastic IP, and never take the address from another job.

    A drop-in for ``EmrCreateJobFlowOperator``. With a lock store the task queues for the address; without one it waits
    until the address is free. Then it launches the cluster, associates the address with the primary node's network
    interface as soon as EC2 reports the node as running, and returns. Steps queue inside EMR until the cluster is
    ready.

    Returns the job flow ID. Pushes ``job_flow_id`` as soon as RunJobFlow returns, and once the address is bound
    ``static_ip`` = {allocation_id, public_ip, association_id, network_interface_id, instance_id, job_flow_id, token},
    and each of these under its own name, too: ``create.output["public_ip"]``. While it queues, the log and ``queue`` =
    {place, waiting, holder} show its place.

    With ``fallbacks`` it returns when the cluster has started: RUNNING or WAITING. A cluster that does not start,
    because its zone has no capacity, its primary node is lost or ``start_timeout`` is over, is terminated. When it has
    ended, the next candidate is launched under the same lease, in the same try. Problems that other candidates would
    have too (validation, permissions, bootstrap actions, quotas) fail the task immediately. ``attempts`` lists for each
    candidate {candidate, job_flow_id, subnet, zone, instance_type, outcome, reason, seconds}. A retry starts with the
    first candidate again, unless it finds a cluster of the previous try.

    On failure, kill or timeout the cluster is terminated and the address released. After a crash, which runs no code,
    the retry adopts the cluster by its tags. The kill of a deferred task runs code since Airflow 3.3; before, and when
    no retry follows a crash, the next owner in the queue terminates the cluster, or EMR does after ``idle_timeout``.

    IAM: ec2:DescribeAddresses, ec2:AssociateAddress, ec2:DisassociateAddress, ec2:DescribeInstances,
    ec2:DescribeNetworkInterfaces, ec2:DescribeSubnets, ec2:DescribeRouteTables, elasticmapreduce:RunJobFlow, …:AddTags,
    …:DescribeCluster, …:ListClusters, …:ListInstances, …:ListSteps, …:PutAutoTerminationPolicy,
    …:SetTerminationProtection, …:TerminateJobFlows, iam:PassRole; the lock store's, see ``stores``. For a NAT gateway
    also ec2:DescribeNatGateways, and to create one ec2:CreateNatGateway, ec2:CreateTags, ec2:DeleteNatGateway,
    ec2:CreateRoute, ec2:ReplaceRoute, ec2:DeleteRoute. ``airflow-eip iam-policy`` prints all of it. Without
    ec2:DescribeSecurityGroups and elasticmapreduce:GetBlockPublicAccessConfiguration it warns that it could not check
    whether the primary node is open to the internet, and with fallbacks without ec2:DescribeAvailabilityZones and
    ec2:DescribeInstanceTypeOfferings whether their zones have what they need.

    :param allocation_id: the Elastic IP, ``eipalloc-…``; or several, any one of which can be used: a list, or
        ``{"tag:purpose": "azure-sql"}`` for all that have this tag when the try begins. The task queues for all of them
        and takes the first that it gets. A retry continues with an active cluster of an earlier try, even if its
        address has left the pool. (templated)
    :param job_flow_overrides: as in the stock operator; merged over the extra of ``emr_conn_id``. (templated,
        ``.json``)
    :param lock_store: the store of the queue: ``dynamodb://TABLE?region=…&create=true`` or ``s3://BUCKET/PREFIX``;
        ``None``, not an empty text, for EC2's refusal to re-associate as the only lock. Default: ``[eip] lock_store``.
    :param bind_at: "primary_running", or "cluster_ready" to bind when the cluster is RUNNING or WAITING.
    :param prewarm: whether a queued task starts its cluster early, so that it binds seconds after the release. "auto":
        so that it is ready about when the address becomes free, estimated from earlier leases
        (:mod:`airflow_eip_provider.lease.forecast`). ``True``: the first in the queue, as soon as the holder has the
        address. A number: that many first places of the queue. ``False``: none. Needs a lock store, except for "auto",
        which does nothing without one.
    :param binding: where the address is bound: ``PrimaryNode()`` (default), or ``NatGateway(...)`` for clusters of any
        size, whose parameters may be given as a mapping, and be templates. (templated, ``.json``)
    :param on_multi_node: "fail", "warn" or "allow" for core and task nodes when the address is on the primary node:
        Spark executors on these nodes use other public addresses.
    :param waiter_delay: seconds between two polls; at least 10 when deferred. (templated)
    :param waiter_max_attempts: with ``waiter_delay``, how long it may take until the cluster is bound, and with
        fallbacks has started. (templated)
    :param start_timeout: the longest time from RunJobFlow to RUNNING or WAITING; it also applies after the bind, while
        the steps wait for the cluster. ``None`` for no limit besides ``waiter_max_attempts``.
    :param fallbacks: what to launch when a cluster does not start: parts of RunJobFlow's parameters, each a JSON merge
        patch over the first candidate, e.g. ``[{"Instances": {"Ec2SubnetId": "subnet-b"}}]``. The key ``binding``
        replaces ``binding``. (templated, ``.json``)
    :param fallback_rounds: how often all candidates are tried.
    :param lock_timeout: the longest wait for the address.
    :param accept_self_termination: accept a cluster that ends when it has no steps.
    :param idle_timeout: EMR terminates the cluster after being idle this long, unless the overrides say otherwise
        (60 seconds to 7 days); the last fallback. ``None`` for none. EMR releases before 5.30.0 and 6.0.x do not
        support it: it is left out there, with a warning that names the remaining fallbacks.
    :param on_queued_longer_than: a duration and a notifier, which is called once when the task has waited for the
        address for this long and is still waiting: ``(timedelta(minutes=30), SnsNotifier(...))``. Any Airflow notifier,
        or a function that takes the context, in which ``eip`` has the details.
    :param on_lost: a notifier, called when the lease was lost to another owner.
    :param on_failover: a notifier, called when a cluster did not start and the next candidate is launched.
    :param servers: resource IDs of Azure SQL servers that must admit the address, as in
        ``AzureSqlFirewallRuleSensor``. An address of several that one of them does not admit is left out with a
        warning; if none is left, the task fails before it launches anything. Without them Azure is not called. Needs
        the extra ``azure``. (templated)
    :param azure_conn_id: for ``servers``; see ``AzureSqlFirewallHook``. (templated)
    """

    state_class = CreateState
    aws_hook_class = EmrClusterHook
    template_fields: Sequence[str] = aws_template_fields(
        "allocation_id",
        "azure_conn_id",
        "binding",
        "emr_conn_id",
        "fallbacks",
        "job_flow_overrides",
        "servers",
        "waiter_delay",
        "waiter_max_attempts",
    )
    operator_extra_links = CLUSTER_LINKS  # type: ignore[assignment]

    def __init__(
        self,
        *,
        allocation_id: str | Sequence[str] | Mapping[str, str],
        lock_store: str | None = UNSET,
        bind_at: str = "primary_running",
        prewarm: bool | int | str = "auto",
        on_multi_node: str = "fail",
        binding: Binding | Mapping[str, Any] | None = None,
        waiter_delay: int = 15,
        waiter_max_attempts: int = 240,
        lock_timeout: timedelta = timedelta(hours=6),
        accept_self_termination: bool = False,
        idle_timeout: timedelta | None = timedelta(hours=1),
        start_timeout: timedelta | None = timedelta(minutes=45),
        fallbacks: Sequence[Mapping[str, Any]] = (),
        fallback_rounds: int = 1,
        on_queued_longer_than: tuple[timedelta, Notifier] | None = None,
        on_lost: Notifier | None = None,
        on_failover: Notifier | None = None,
        servers: Sequence[str] | str = (),
        azure_conn_id: str = "azure_default",
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            waiter_delay=waiter_delay, waiter_max_attempts=waiter_max_attempts, deferrable=deferrable, **kwargs
        )
        # The stock operator replaces 0 by its default; here it is refused.
        self.waiter_delay = 60 if waiter_delay is None else waiter_delay
        self.waiter_max_attempts = 60 if waiter_max_attempts is None else waiter_max_attempts
        self.allocation_id: Any = allocation_id
        self.lock_store = lock_store
        self.bind_at = bind_at
        self.prewarm = prewarm
        self.on_multi_node = on_multi_node
        self.binding = binding
        self.lock_timeout = lock_timeout
        self.accept_self_termination = accept_self_termination
        self.idle_timeout = idle_timeout
        self.start_timeout = start_timeout
        self.fallbacks = fallbacks
        self.fallback_rounds = fallback_rounds
        self.on_queued_longer_than = checked_limit(on_queued_longer_than, parameter="on_queued_longer_than")
        self.on_lost = checked_notifier(on_lost, parameter="on_lost")
        self.on_failover = checked_notifier(on_failover, parameter="on_failover")
        self.servers = servers
        self.azure_conn_id = azure_conn_id
        # The known parts of the steps of following tasks, by task ID, which are checked before the launch.
        self.planned_steps: dict[str, list[Any]] = {}

    def begin(self, context: Context) -> CreateState:
        """
        Adopt the cluster of an earlier try if there is one, and run the preflight checks.

        In this order, so that a try that is refused terminates the cluster of one that crashed.
        """
        from airflow_eip_provider.operators.owner import Owner

        self.read_addresses(context)
        self._check_parameters()
        launcher = self.launcher(context)
        state = CreateState(
            try_number=context["ti"].try_number, lock_deadline=clock.time() + self.lock_timeout.total_seconds()
        )
        if (adopted := self.begin_attempt(context, state, launcher)) is not None:
            self.publish(context, state, adopted)
        setup = self.run_preflight(
            bind_at=self.bind_at,
            accept_self_termination=self.accept_self_termination,
            owner_digest=Owner.of(context).digest,
        )
        if setup.reads.address is not None:
            self.lease_queue.note_address(setup.reads.address)
        if isinstance(self.allocation_id, str):
            self.link_address(context)
        return state

    def advance(self, context: Context, state: CreateState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """Acquire the lease, launch the cluster, bind the address, wait for the start, hand the lease over."""
        from airflow_eip_provider.lease.protocol import Acquired, NotStarted
        from airflow_eip_provider.operators.bindings.interface import Bound

        self._check_not_timed_out(context, state, event)
        launcher, attempt, replaces = self.launcher(context), attempt_of(context, state.nonce), self.has_fallbacks
        waiting: WatchTrigger | None
        while not state.bound:
            observed: Observed | None = None
            self.choose(launcher, state.candidate)
            try:
                if state.job_flow_id is None:
                    request, due_seconds = self._lease_request(attempt, launcher), observed_due_seconds(event)
                    wanted = with_estimate(request, event)
                    entered = self.lease_queue.enter(wanted, due_seconds=due_seconds, launcher=launcher)
                    if not isinstance(entered, Acquired):
                        return self.wait_for_turn(context, state, request, entered)
                    self.note_acquired(context, state, entered)
                    event = None  # it is about the leases of others
                    launcher.answered = None  # a cluster that was started early is not new
                    launched = self.lease_client.launch(entered, request, launcher, replaces=replaces)
                    if isinstance(launched, NotStarted):
                        replaces = self.give_up_ended(context, state, entered, launched.resource_id)
                        continue
                    waiting = self._note_launch(context, state, launcher, launched)
                elif state.failed is not None:
                    launcher.answered = None
                    waiting = self._note_launch(context, state, launcher, self.replace_failed(state, attempt, launcher))
                else:
                    observed = self.observe()
                    has_started = not self.has_fallbacks or self.has_started(state, observed)
                    if not self._may_bind(state, observed):
                        deadline = self.check_in_time(state, observed)
                        return self.wait_for_cluster(state, "cluster_ready", deadline=deadline)
                    bound = self.binding_of(state.candidate).bind(self._site(context, state, observed))
                    if isinstance(bound, Bound) and has_started:
                        job_flow_id = str(state.job_flow_id)
                        self.lease_client.hand_over(
                            attempt, token=state.token, resource_id=job_flow_id, launcher=launcher
                        )
                        self._publish_bound(context, state, bound, observed)
                        break
                    waiting = self._wait_to_bind(context, state, attempt, bound, observed)
            except (CandidateFailed, ClusterEndedError, ClientError) as error:
                waiting = self.another_candidate(context, state, error, observed)
            if waiting is not None:
                return waiting
        return self._wait_by_policy(state) or Result(state.job_flow_id)

    def _check_not_timed_out(self, context: Context, state: CreateState, event: dict[str, Any] | None) -> None:
        """Raise an error if a wait timed out; :meth:`check_in_time` judges a wait for the start."""
        if event is None or event["status"] != "timeout" or self.only_notifies(context, state):
            return
        waits_for_start = state.waiting_for in _START_WAITS or state.waiting_for.startswith("behind")
        if not (self.has_fallbacks and not state.bound and waits_for_start):
            if state.waiting_for in {"lease", "address"}:
                raise self.address_timed_out(state, event)
            raise WaitTimeoutError(
                f"cluster '{state.job_flow_id}' to be {state.waiting_for}",
                last_seen=event["message"],
                bound="start_timeout, waiter_delay or waiter_max_attempts",
            )

    def _wait_by_policy(self, state: CreateState) -> WatchTrigger | None:
        """Return the wait that ``wait_policy`` requires, unless the cluster has reached its state."""
        if self.wait_policy is None:
            return None
        target = _WAIT_TARGETS[self.wait_policy.name]
        verdict = self._poll_cluster(state, target)
        if verdict.status == "done":
            return None
        if verdict.data.get("state") in {"STARTING", "BOOTSTRAPPING"}:
            return self.wait_for_cluster(state, "cluster_ready", deadline=state.start_deadline)
        return self.wait_for_cluster(state, target, deadline=state.wait_deadline or state.start_deadline)

    def _note_launch(
        self, context: Context, state: CreateState, launcher: Launcher, launched: str | WatchTrigger
    ) -> WatchTrigger | None:
        """
        Publish the cluster of the lease.

        :param launched: its ID, or the wait before it can be launched.
        :return: the wait for a new cluster, whose primary node cannot be running yet; ``None`` to poll the cluster
            first, because it was adopted, or because the binding has something to do before.
        """
        if not isinstance(launched, str):
            return launched
        self.publish(context, state, launched)
        if launcher.answered != launched:
            return None
        binding = self.binding_of(state.candidate)
        first: Target | None = "cluster_ready" if self.bind_at == "cluster_ready" else binding.first_target
        return None if first is None else self.wait_for_cluster(state, first, deadline=state.start_deadline)

    def _lease_request(self, attempt: Attempt, launcher: Launcher) -> LeaseRequest:
        from airflow_eip_provider.lease.observation import LeaseRequest
        from airflow_eip_provider.lease.record import LIMITS

        return LeaseRequest(
            attempt,
            cluster_name=launcher.config["Name"],
            handover_seconds=self.handover_seconds + LIMITS.surface,
            prewarm=self._places,
        )

    def _wait_to_bind(
        self,
        context: Context,
        state: CreateState,
        attempt: Attempt,
        needed: Bound | ClusterWait | GatewayWait | None,
        observed: Observed,
    ) -> WatchTrigger | None:
        """
        Return the wait before the address can be bound, or until a bound cluster has started.

        :param needed: what the binding waits for; ``None`` when something else has the address.
        :param observed: the reads of this poll.
        :return: ``None`` when there is something to do immediately.
        """
        from airflow_eip_provider.operators.bindings.interface import Bound, ClusterWait, GatewayWait
        from airflow_eip_provider.triggers.nat import NatGatewayTrigger

        if isinstance(needed, Bound):
            state.instance_id = needed.address.instance_id
            return self.wait_for_start(state, deadline=self.check_in_time(state, observed))
        if isinstance(needed, ClusterWait):
            return self.wait_for_cluster(state, needed.target, deadline=self.check_in_time(state, observed))
        if isinstance(needed, GatewayWait):
            state.waiting_for = f"behind NAT gateway '{needed.gateway_id}'"
            shared = self.watch(state, deadline=self.check_in_time(state, observed))
            return NatGatewayTrigger(gateway_id=needed.gateway_id, **shared)
        return self._wait_until_free(context, state, attempt)

    def _wait_until_free(self, context: Context, state: CreateState, attempt: Attempt) -> WatchTrigger | None:
        """
        Return the wait for an address that something else has.

        :return: ``None`` when the cluster of an earlier try has it, or another address of a pool is free.
        """
        job_flow_id = str(state.job_flow_id)
        kept = self.lease_client.relocate(attempt, token=state.token, resource_id=job_flow_id)
        if kept != job_flow_id:
            state.other = job_flow_id
            self.publish(context, state, kept)
            return None
        if state.addresses and self.lease_client.uri is None:
            is_free = self.next_free_address(context, state, job_flow_id=job_flow_id)
            return None if is_free else self.wait_for_any(context, state, job_flow_id=job_flow_id)
        like = self.lease_client.lease_tags(attempt, token=state.token)
        return self.wait_for_address(context, state, job_flow_id=job_flow_id, like=like)

    def _publish_bound(self, context: Context, state: CreateState, bound: Bound, observed: Observed) -> None:
        from airflow_eip_provider.operators.binder import bound_facts

        address, job_flow_id = bound.address, state.job_flow_id
        facts = bound_facts(address, job_flow_id=job_flow_id, token=state.token, gateway_id=bound.gateway_id)
        self.log.info("Elastic IP %s (%s) is on cluster %s", self.allocation_id, address.public_ip, job_flow_id)
        self.__dict__["_bound_facts"] = facts
        context["ti"].xcom_push(key="static_ip", value=facts)
        for name in facts.keys() - {"job_flow_id"}:  # an XComArg takes a key, not a part of a value
            context["ti"].xcom_push(key=name, value=facts[name])
        state.bound = True
        self.measure(state, metrics.BIND_SECONDS, clock.time() - state.launched_at)
        if self.has_fallbacks:
            cluster = observed.cluster(str(job_flow_id))
            reason = cluster.reason if cluster else ""
            self.note_attempt(context, state, "started", reason=reason, cluster=cluster)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the OpenLineage facet with the cluster, the address and the lease."""
        bound = self.__dict__.get("_bound_facts", {})
        return lease_lineage(
            allocation_id=self.allocation_id,
            job_flow_id=bound.get("job_flow_id"),
            public_ip=bound.get("public_ip"),
            token=bound.get("token"),
        )

    def to_undo(self, context: Context, state: CreateState | None) -> Undo | None:
        """Return the cluster and the lease of this try; those of a newer try are left alone."""
        from airflow_eip_provider.lease_client.interface import Undo

        job_flow_id = state.job_flow_id if state else own_xcom(context, "job_flow_id")
        nonce, token = self.known_lease(context, state)
        try_number, launcher = context["ti"].try_number, self.__dict__.get("_launching")
        is_unclear = launcher is not None and launcher.is_unclear
        if nonce is None and try_number == 1 and job_flow_id is None and not is_unclear:
            return None  # refused before it did anything; a later try may have to undo what an earlier one did
        return Undo(
            attempt_of(context, nonce),
            job_flow_id,
            token=token,
            launched=True,
            terminate=self._terminates,
            may_lag=not self._terminates,
            # A newer try runs at the same time only if Airflow retries a task whose process it has lost.
            may_be_adopted=self.may_be_retried(context),
            is_unclear=is_unclear,
            created_after=earliest_start(context),
            may_have_gateway=state is None or self.tags_of(state.candidate).get(BINDING_TAG) == CLUSTER_GATEWAY,
        )

    def log_leftovers(self, resource_id: str) -> None:
        """Log the cluster that this task could not terminate."""
        if not self._terminates:
            return
        self.log.error(
            "Cluster %s is not terminated: the lock store, which says whether a newer try has adopted it, does not "
            "answer. A retry of this task or the next owner of Elastic IP %s ends it, or EMR when it has been idle "
            "(idle_timeout: %s). To end it now: aws emr terminate-clusters --cluster-ids %s",
            resource_id,
            self.allocation_id,
            self.idle_timeout,
            resource_id,
        )

    @property
    def _terminates(self) -> bool:
        """Whether a failure terminates the cluster; older Amazon providers do not have the parameter."""
        return bool(getattr(self, "terminate_job_flow_on_failure", True))

    def clusters_of_earlier_tries(self, context: Context) -> list[Cluster]:
        """Return the active clusters that earlier tries launched, for any address."""
        from airflow_eip_provider.aws.clusters import read_tagged_clusters
        from airflow_eip_provider.operators.owner import Owner

        tags = {OWNER_DIGEST_TAG: Owner.of(context).digest}
        clusters = read_tagged_clusters(self.emr.conn, tags=tags, created_after=earliest_start(context))
        name = self.remembered_cluster()
        if name is not None and all(name != cluster.job_flow_id for cluster in clusters):
            remembered_one = self.emr.get_cluster(name)
            clusters += [remembered_one] if remembered_one is not None and not remembered_one.is_ending else []
        return clusters

    def remembered_cluster(self) -> str | None:
        """Return the cluster that an earlier try of this task launched, on Airflow 3.3 and later."""
        if self._context is None or self._context["ti"].try_number == 1:
            return None
        return cast("str | None", remembered(self._context, "job_flow_id"))

    def _check_parameters(self) -> None:
        preflight.check_waits(self.waiter_delay, self.waiter_max_attempts)
        check_flags(self, "accept_self_termination", "deferrable")
        if self.wait_policy is not None and getattr(self.wait_policy, "name", None) not in _WAIT_TARGETS:
            raise InvalidInputError(
                f"checking wait_policy {self.wait_policy!r}",
                problem="this is not a WaitPolicy of the Amazon provider",
                remedy=f"give None, or WaitPolicy.{' or WaitPolicy.'.join(_WAIT_TARGETS)}",
            )
        preflight.check_duration("lock_timeout", self.lock_timeout)
        preflight.check_idle_timeout(self.idle_timeout)
        self.check_start_timeout()
        for task_id, steps in self.planned_steps.items():
            preflight.checked_steps(steps, task_id=task_id)
        check_choice("bind_at", self.bind_at, ("primary_running", "cluster_ready"))
        check_choice("on_multi_node", self.on_multi_node, ("fail", "warn", "allow"))
        if self.prewarm != "auto" and (not isinstance(self.prewarm, int) or self.prewarm < 0):
            raise InvalidInputError(
                f"checking prewarm {self.prewarm!r}",
                problem="this is not 'auto', a bool or a number of places",
                remedy="use 'auto', or how many first places of the queue start their clusters early",
            )
        self.lease_queue.check_prewarm(self._places)

    @property
    def _places(self) -> int:
        """The number of first places in the queue from which the cluster is started early; may be estimated later."""
        from airflow_eip_provider.lease.observation import ESTIMATED

        if self.prewarm == "auto":
            return ESTIMATED
        # Each address of a pool becomes free for one of the first places.
        return int(self.prewarm) * (len(self.allocation_id) if isinstance(self.allocation_id, AddressPool) else 1)

    def _site(self, context: Context, state: CreateState, observed: Observed) -> Site:
        from airflow_eip_provider.operators.bindings.interface import Site
        from airflow_eip_provider.operators.owner import Owner

        token = {} if state.token is None else {TOKEN_TAG: str(state.token)}
        return Site(
            aws=self.aws,
            allocation_id=self.allocation_id,
            job_flow_id=str(state.job_flow_id),
            tags={**Owner.of(context).tags(allocation_id=self.allocation_id), **token},
            appears_by=state.appears_by,
            kill=self.kill,
            observed=observed,
        )

    def _may_bind(self, state: CreateState, observed: Observed) -> bool:
        """Whether the cluster has reached the state that ``bind_at`` names."""
        return self.bind_at != "cluster_ready" or self._poll_cluster(state, "cluster_ready", observed).status == "done"

    def _poll_cluster(self, state: CreateState, target: Target, observed: Observed | None = None) -> Verdict:
        from airflow_eip_provider.triggers.emr import judge_target

        is_new = clock.time() < state.appears_by
        return self.poll(
            lambda reads: judge_target(reads, str(state.job_flow_id), target=target, is_new=is_new), observed
        )
