"""Waiting until an Elastic IP is where it is wanted."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider.airflow_compat import (
    DEFAULT_DEFERRABLE,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_eip_provider.calls import is_transient, perform
from airflow_eip_provider.exceptions import (
    AddressNotFoundError,
    ClusterEndedError,
    ElasticIpError,
    InvalidInputError,
    PermanentError,
)
from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.links.eip import ElasticIpLink
from airflow_eip_provider.triggers.eip import EipAssociationTrigger, read_association

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.airflow_compat import Context

_SHORTEST_DEFERRAL_SECONDS = 10
_DEFERRAL_MARGIN = timedelta(minutes=2)


class EipAssociationSensor(AwsBaseSensor[ElasticIpHook]):
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

    aws_hook_class = ElasticIpHook
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
        if self.deferrable and not self.poke(context):
            self._defer()
        if not self.deferrable:
            super().execute(context)
        return self._found

    def _defer(self) -> None:
        self.defer(
            trigger=EipAssociationTrigger(
                allocation_id=self.allocation_id,
                job_flow_id=self.job_flow_id,
                instance_id=self.instance_id,
                expect=self.expect,
                waiter_delay=max(float(self.poke_interval), _SHORTEST_DEFERRAL_SECONDS),
                deadline=time.time() + float(self.timeout),
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
                verify=self.verify,
                botocore_config=self.botocore_config,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=float(self.timeout)) + _DEFERRAL_MARGIN,
        )

    def poke(self, context: Context) -> bool:
        """
        Look once.

        :raises AirflowFailException: when what is waited for cannot happen any more.
        """
        self._check_parameters()
        emr = EmrClusterHook(emr_conn_id=None, **self._hook_parameters)
        reading = read_association(
            self.allocation_id, job_flow_id=self.job_flow_id, instance_id=self.instance_id, expect=self.expect
        )
        try:
            verdict = perform(reading, {"ec2": self.hook.conn, "emr": emr.conn})
        except Exception as error:
            if not is_transient(error):
                raise
            self.log.warning("AWS gave no answer this time: %s", error)
            return False
        self.log.info("%s", verdict.message)
        return self._judge({"status": verdict.status, "data": verdict.data})

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Judge what the triggerer saw."""
        if event["status"] == "timeout":
            message = f"Sensor has timed out; last seen: {event['message']}"
            if self.soft_fail:
                raise AirflowSkipException(message)
            raise AirflowSensorTimeout(message)
        self._judge(event)
        return self._found

    def _judge(self, event: dict[str, Any]) -> bool:
        if event["status"] == "failed":
            facts = event["data"]
            error: ElasticIpError = (
                ClusterEndedError(facts["job_flow_id"], state=facts["state"], reason=facts["reason"])
                if facts["gone"] == "cluster"
                else AddressNotFoundError(self.allocation_id, region=self.hook.conn_region_name)
            )
            self._fail(error)
            self._fail(error)
        self._found = event["data"]
        return bool(event["status"] == "done")

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
