"""Waiting until an Elastic IP is where it is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock, metrics
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE
from airflow_eip_provider.aws.lag import SECOND_LOOK_SECONDS
from airflow_eip_provider.exceptions import (
    AddressLostError,
    AddressNotFoundError,
    ClusterEndedError,
    ElasticIpError,
    InvalidInputError,
)
from airflow_eip_provider.hooks.address_pool import followed_address, names_pool
from airflow_eip_provider.links.eip import ElasticIpLink
from airflow_eip_provider.notifications import Notifying, checked_notifier
from airflow_eip_provider.rendered import rendered
from airflow_eip_provider.sensors.watching import WatchingSensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.notifications import Notifier
    from airflow_eip_provider.triggers.eip import EipAssociationTrigger
    from airflow_eip_provider.triggers.verdict import Verdict


_NOT_GIVEN: Any = object()


class EipAssociationSensor(Notifying, WatchingSensor):
    """
    Wait until an Elastic IP is on a cluster or an instance, or until it is free.

    A cluster carries the address when it leaves from it: the address is on the primary private address of the primary
    network interface of its primary node, or on its NAT gateway. An instance carries it on any of its interfaces.

    Returns {allocation_id, public_ip, association_id, network_interface_id, instance_id, job_flow_id} as found. Fails
    at once, with EMR's own reason, when the cluster that it waits for has ended, and when the address does not exist;
    and when EMR does not know the cluster, as soon as that cannot be a stale answer.

    IAM: ec2:DescribeAddresses, ec2:DescribeInstances, ec2:DescribeNetworkInterfaces, elasticmapreduce:DescribeCluster;
    for an address on a NAT gateway also ec2:DescribeNatGateways; elasticmapreduce:ListInstances where EMR's tags on the
    instances cannot be seen. Where many wait in a triggerer, elasticmapreduce:ListClusters answers for all of them;
    without it they are asked for one by one.

    :param allocation_id: the Elastic IP, ``eipalloc-…``; with a cluster or an instance also several, as in
        ``EmrCreateWithStaticIpOperator``: it is about the one that this was given. (templated)
    :param job_flow_id: with expect="associated", the cluster that is to carry it. (templated)
    :param instance_id: with expect="associated", the instance that is to carry it. Leave out both for anywhere; one
        that is given and renders to nothing is an error. (templated)
    :param expect: "associated" or "free".
    :param was_bound: the address was bound to this cluster before the sensor started, as the creating task does it. It
        then fails, naming where the address is, when that has left, instead of waiting for somebody to bind it again:
        after a minute, in which EC2 may not show the binding yet, and two looks that agree. Without it, an address
        elsewhere is waited for until the timeout, e.g. when a bootstrap action binds it later.
    :param on_lost: with ``was_bound``, a notifier of Airflow's, or a function that takes the context: called when the
        address has left the cluster.
    :param deferrable: wait in the triggerer, looking every ``poke_interval`` seconds (at least 10).
    """

    no_answer = "AWS gave no answer this time: %s"
    template_fields: Sequence[str] = aws_template_fields("allocation_id", "instance_id", "job_flow_id")
    operator_extra_links = (ElasticIpLink(),)

    def __init__(
        self,
        *,
        allocation_id: Any,
        job_flow_id: str | None = _NOT_GIVEN,
        instance_id: str | None = _NOT_GIVEN,
        expect: Literal["associated", "free"] = "associated",
        was_bound: bool = False,
        on_lost: Notifier | None = None,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        targets = {"job_flow_id": job_flow_id, "instance_id": instance_id}
        given = {name for name, value in targets.items() if value is not _NOT_GIVEN}
        # None beside a target is an alternative that is left out; alone it would mean anywhere.
        self._given = {name for name in given if targets[name] is not None} or given
        self.allocation_id = allocation_id
        self.job_flow_id = None if job_flow_id is _NOT_GIVEN else job_flow_id
        self.instance_id = None if instance_id is _NOT_GIVEN else instance_id
        self.expect = expect
        self.was_bound = was_bound
        self.on_lost = checked_notifier(on_lost, parameter="on_lost")
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Look once, then wait in the way that was chosen; the same result either way."""
        if names_pool(self.allocation_id):
            self.allocation_id = self._followed_address()
        ElasticIpLink.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            allocation_id=self.allocation_id,
        )
        return super().execute(context)

    def _followed_address(self) -> str:
        """Return which address of a pool the cluster or the instance has."""
        from airflow_eip_provider.hooks.aws import AwsHooks

        aws = AwsHooks.of(self)
        doing = "looking for the Elastic IP to wait for"
        given = sorted(self._given)
        if not given:
            self.fail(
                InvalidInputError(
                    doing,
                    problem="allocation_id names several, and nothing says which of them is meant",
                    remedy="give job_flow_id or instance_id with it, or one allocation ID",
                )
            )
        try:
            resource_id = [rendered(getattr(self, name), name=name, doing=doing) for name in given][-1]
            # The tags of the cluster say so where the address is not on it; a sensor knows no lock store.
            return str(followed_address(self.allocation_id, resource_id=resource_id, aws=aws, lock_store=None))
        except InvalidInputError as error:
            self.fail(error)

    def pre_execute(self, context: Any) -> None:
        """Remember the context, for what is told of a failure."""
        self._context = context
        super().pre_execute(context)

    def fail(self, error: ElasticIpError) -> NoReturn:
        """Fail, and tell others when the address was lost."""
        if isinstance(error, AddressLostError):
            metrics.send(metrics.LOST, allocation_id=self.allocation_id, dag_id=self._context["ti"].dag_id)
            metrics.flush()
            self.notify(self._context, self.on_lost, "lost", once="lost", message=str(error))
        super().fail(error)

    def poll(self) -> Verdict:
        """Look where the address is; in a worker that waits, as often as a failure needs to be confirmed."""
        from airflow_eip_provider.triggers.eip import judge_association
        from airflow_eip_provider.triggers.observed import Observed
        from airflow_eip_provider.triggers.second_look import SecondLook

        self._check_parameters()
        second_look = SecondLook(clock.time())
        while True:
            found = judge_association(
                Observed(self.client_for),
                self.allocation_id,
                job_flow_id=self.job_flow_id,
                instance_id=self.instance_id,
                expect=self.expect,
                was_bound=self.was_bound,
            )
            found = second_look.judge(found, now=clock.time())
            if self.deferrable or not second_look.is_due:
                return found
            self.log.info("%s", found.message)
            clock.sleep(SECOND_LOOK_SECONDS)

    def trigger(self, *, waiter_delay: float, deadline: float) -> EipAssociationTrigger:
        """Return the wait in the triggerer."""
        from airflow_eip_provider.triggers.eip import EipAssociationTrigger

        return EipAssociationTrigger(
            allocation_id=self.allocation_id,
            job_flow_id=self.job_flow_id,
            instance_id=self.instance_id,
            expect=self.expect,
            was_bound=self.was_bound,
            since=clock.time(),
            **self.watch(waiter_delay=waiter_delay, deadline=deadline),
        )

    def error_of(self, data: dict[str, Any]) -> ElasticIpError:
        """Say why: the cluster, the address or its binding is gone."""
        if data["gone"] == "cluster":
            return ClusterEndedError(data["job_flow_id"], state=data["state"], reason=data["reason"])
        if data["gone"] == "address":
            return AddressNotFoundError(self.allocation_id, region=self.hook.conn_region_name)
        return AddressLostError(
            self.allocation_id,
            job_flow_id=str(self.job_flow_id),
            place=data["place"],
            consequence="nothing binds it again, so no step can run there; the teardown ends the cluster and its lease",
        )

    def _check_parameters(self) -> None:
        if self.expect not in {"associated", "free"}:
            self.fail(
                InvalidInputError(
                    f"checking expect {self.expect!r}", problem="unknown choice", remedy="use 'associated' or 'free'"
                )
            )
        try:
            for name in sorted(self._given):
                rendered(getattr(self, name), name=name, doing=f"waiting for Elastic IP '{self.allocation_id}'")
        except InvalidInputError as error:
            self.fail(error)
        if self.was_bound and (self.expect != "associated" or "job_flow_id" not in self._given):
            self.fail(
                InvalidInputError(
                    "checking was_bound=True",
                    problem="it is about a cluster that the address was bound to",
                    remedy="give job_flow_id and expect='associated' with it, or leave it out",
                )
            )
