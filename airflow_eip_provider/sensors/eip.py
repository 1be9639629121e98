"""Waiting until an Elastic IP is on a cluster or an instance, or free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock, metrics
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE
from airflow_eip_provider.aws.lag import SECOND_LOOK_SECONDS
from airflow_eip_provider.aws.resource_ids import check_allocation_id, check_instance_id, check_job_flow_id
from airflow_eip_provider.exceptions import (
    AddressLostError,
    AddressNotFoundError,
    ClusterEndedError,
    ElasticIpError,
    InvalidInputError,
    PermanentError,
)
from airflow_eip_provider.hooks.address_pool import followed_address, names_pool
from airflow_eip_provider.links.eip import ElasticIpLink
from airflow_eip_provider.notifications import Notifying, checked_notifier
from airflow_eip_provider.rendered import check_choice, check_flags, rendered
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

    A cluster has the address when it is associated with the primary private address of the primary network interface of
    its primary node, or on its NAT gateway. An instance may have it on any of its interfaces.

    Returns {allocation_id, public_ip, association_id, network_interface_id, instance_id, job_flow_id}. Fails
    immediately, with EMR's reason, when the cluster has ended, and when the address does not exist; also when EMR does
    not know the cluster, as soon as that cannot be an old answer.

    IAM: ec2:DescribeAddresses, ec2:DescribeInstances, ec2:DescribeNetworkInterfaces, elasticmapreduce:DescribeCluster;
    for an address on a NAT gateway also ec2:DescribeNatGateways; elasticmapreduce:ListInstances where EMR's tags on the
    instances cannot be seen. Where many wait in a triggerer, elasticmapreduce:ListClusters answers for all of them;
    without it they are asked for one by one.

    :param allocation_id: the Elastic IP, ``eipalloc-…``; with a cluster or an instance also several, as in
        ``EmrCreateWithStaticIpOperator``: then the one that the cluster or instance was given. (templated)
    :param job_flow_id: with expect="associated", the cluster that should have the address. (templated)
    :param instance_id: with expect="associated", the instance that should have it. Leave out both for any resource; a
        value that renders to nothing is an error. (templated)
    :param expect: "associated" or "free".
    :param was_bound: the address was bound to this cluster before the sensor started, such as by the creating task. If
        the address has left, the sensor fails and names where it is, instead of waiting for a new association. It fails
        after two polls that agree, and not in the first minute, in which EC2 may not show the association yet. Without
        ``was_bound``, the sensor waits until the timeout, e.g. because a bootstrap action binds the address later.
    :param on_lost: with ``was_bound``, an Airflow notifier, or a function that takes the context: called when the
        address has left the cluster.
    :param deferrable: wait in the triggerer, with a poll every ``poke_interval`` seconds (at least 10).
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
        # None next to a target is a parameter that is left out; alone it would mean any resource.
        self._given = {name for name in given if targets[name] is not None} or given
        self.allocation_id = allocation_id
        self.job_flow_id = None if job_flow_id is _NOT_GIVEN else job_flow_id
        self.instance_id = None if instance_id is _NOT_GIVEN else instance_id
        self.expect = expect
        self.was_bound = was_bound
        self.on_lost = checked_notifier(on_lost, parameter="on_lost")
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Poll once, then wait in the worker or in the triggerer; the result is the same."""
        try:
            if names_pool(self.allocation_id):
                self.allocation_id = self._followed_address()
            self._check_parameters()
            ElasticIpLink.persist(
                context=context,
                operator=self,
                region_name=self.aws.eip.conn_region_name,
                aws_partition=self.aws.eip.conn_partition,
                allocation_id=self.allocation_id,
            )
        except PermanentError as error:
            self.fail(error)
        return super().execute(context)

    def _followed_address(self) -> str:
        """Return the address of a pool that the cluster or the instance has."""
        doing = "looking for the Elastic IP to wait for"
        resource_ids = [rendered(getattr(self, name), name=name, doing=doing) for name in sorted(self._given)]
        if not resource_ids:
            raise InvalidInputError(
                doing,
                problem="allocation_id names several, and nothing says which of them is meant",
                remedy="give job_flow_id or instance_id with it, or one allocation ID",
            )
        # If the address is not on the cluster, its tags name it; a sensor has no lock store.
        return str(followed_address(self.allocation_id, resource_id=resource_ids[-1], aws=self.aws, lock_store=None))

    def pre_execute(self, context: Any) -> None:
        """Keep the context for the notification of a failure."""
        self._context = context
        super().pre_execute(context)

    def fail(self, error: ElasticIpError) -> NoReturn:
        """Fail, and notify when the address was lost."""
        if isinstance(error, AddressLostError):
            metrics.send(metrics.LOST, allocation_id=self.allocation_id, dag_id=self._context["ti"].dag_id)
            metrics.flush()
            self.notify(self._context, self.on_lost, "lost", once="lost", message=str(error))
        super().fail(error)

    def poll(self) -> Verdict:
        """Read where the address is; in a worker, again until a failure is confirmed."""
        from airflow_eip_provider.triggers.eip import judge_association
        from airflow_eip_provider.triggers.observed import Observed
        from airflow_eip_provider.triggers.second_look import SecondLook

        second_look = SecondLook(clock.time())
        while True:
            verdict = judge_association(
                Observed(self.aws.client_for),
                self.allocation_id,
                job_flow_id=self.job_flow_id,
                instance_id=self.instance_id,
                expect=self.expect,
                was_bound=self.was_bound,
            )
            verdict = second_look.judge(verdict, now=clock.time())
            if self.deferrable or not second_look.is_due:
                return verdict
            self.log.info("%s", verdict.message)
            clock.sleep(SECOND_LOOK_SECONDS)

    def trigger(self, *, waiter_delay: float, deadline: float) -> EipAssociationTrigger:
        """Return the trigger of the wait."""
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
        """Return the error: the cluster has ended, or the address or its association does not exist."""
        if data["gone"] == "cluster":
            return ClusterEndedError(data["job_flow_id"], state=data["state"], reason=data["reason"])
        if data["gone"] == "address":
            return AddressNotFoundError(self.allocation_id, region=self.aws.eip.conn_region_name)
        return AddressLostError(
            self.allocation_id,
            job_flow_id=str(self.job_flow_id),
            place=data["place"],
            consequence="nothing binds it again, so no step can run there; the teardown ends the cluster and its lease",
        )

    def _check_parameters(self) -> None:
        check_flags(self, "deferrable", "was_bound")
        check_choice("expect", self.expect, ("associated", "free"))
        doing = f"waiting for Elastic IP '{self.allocation_id}'"
        rendered(self.allocation_id, name="allocation_id", doing="waiting for an Elastic IP")
        check_allocation_id(self.allocation_id)
        checks = {"job_flow_id": check_job_flow_id, "instance_id": check_instance_id}
        for name in sorted(self._given):
            rendered(getattr(self, name), name=name, doing=doing)
            checks[name](getattr(self, name))
        if self.was_bound and (self.expect != "associated" or "job_flow_id" not in self._given):
            raise InvalidInputError(
                "checking was_bound=True",
                problem="it is about a cluster that the address was bound to",
                remedy="give job_flow_id and expect='associated' with it, or leave it out",
            )
