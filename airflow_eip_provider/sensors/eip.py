"""Waiting until an Elastic IP is where it is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE, AirflowFailException, AirflowSkipException
from airflow_eip_provider.calls import perform
from airflow_eip_provider.exceptions import (
    AddressNotFoundError,
    ClusterEndedError,
    ElasticIpError,
    InvalidInputError,
    PermanentError,
)
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.links.eip import ElasticIpLink
from airflow_eip_provider.sensors.watching import WatchingSensor
from airflow_eip_provider.triggers.eip import EipAssociationTrigger, read_association

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.triggers.watch import Verdict


class EipAssociationSensor(WatchingSensor):
    """
    Wait until an Elastic IP is on a cluster or an instance, or until it is free.

    Returns {allocation_id, public_ip, association_id, network_interface_id, instance_id, job_flow_id} as found. Fails
    at once, with EMR's own reason, when the cluster that it waits for has ended, and when the address does not exist.

    IAM: ec2:DescribeAddresses, ec2:DescribeInstances, ec2:DescribeNetworkInterfaces, elasticmapreduce:DescribeCluster;
    for an address on a NAT gateway also ec2:DescribeNatGateways.

    :param allocation_id: the Elastic IP, ``eipalloc-…``. (templated)
    :param job_flow_id: with expect="associated", the cluster that is to carry it. (templated)
    :param instance_id: with expect="associated", the instance that is to carry it; neither means anywhere. (templated)
    :param expect: "associated" or "free".
    :param deferrable: wait in the triggerer, looking every ``poke_interval`` seconds (at least 10).
    """

    no_answer = "AWS gave no answer this time: %s"
    template_fields: Sequence[str] = aws_template_fields("allocation_id", "instance_id", "job_flow_id")
    operator_extra_links = (ElasticIpLink(),)

    def __init__(
        self,
        *,
        allocation_id: str,
        job_flow_id: str | None = None,
        instance_id: str | None = None,
        expect: Literal["associated", "free"] = "associated",
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.allocation_id = allocation_id
        self.job_flow_id = job_flow_id
        self.instance_id = instance_id
        self.expect = expect
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Look once, then wait in the way that was chosen; the same result either way."""
        ElasticIpLink.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            allocation_id=self.allocation_id,
        )
        return super().execute(context)

    def look(self) -> Verdict:
        """Look where the address is."""
        self._check_parameters()
        emr = EmrClusterHook(emr_conn_id=None, **self._hook_parameters)
        reading = read_association(
            self.allocation_id, job_flow_id=self.job_flow_id, instance_id=self.instance_id, expect=self.expect
        )
        return perform(reading, {"ec2": self.hook.conn, "emr": emr.conn})

    def trigger(self, *, waiter_delay: float, deadline: float) -> EipAssociationTrigger:
        """Return the wait in the triggerer."""
        return EipAssociationTrigger(
            allocation_id=self.allocation_id,
            job_flow_id=self.job_flow_id,
            instance_id=self.instance_id,
            expect=self.expect,
            waiter_delay=waiter_delay,
            deadline=deadline,
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            botocore_config=self.botocore_config,
        )

    def judge(self, status: str, data: dict[str, Any]) -> bool:
        """Fail when the cluster or the address is gone."""
        if status == "failed":
            self._fail(
                ClusterEndedError(data["job_flow_id"], state=data["state"], reason=data["reason"])
                if data["gone"] == "cluster"
                else AddressNotFoundError(self.allocation_id, region=self.hook.conn_region_name)
            )
        return super().judge(status, data)

    def _check_parameters(self) -> None:
        if self.expect not in {"associated", "free"}:
            self._fail(
                InvalidInputError(
                    f"checking expect {self.expect!r}", problem="unknown choice", remedy="use 'associated' or 'free'"
                )
            )

    def _fail(self, error: ElasticIpError) -> NoReturn:
        if self.soft_fail and not isinstance(error, PermanentError):
            raise AirflowSkipException(str(error)) from error
        raise AirflowFailException(str(error)) from error
