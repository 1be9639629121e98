"""soft_fail: what no waiting helps against fails, and what did not happen in time is skipped, in both modes."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException, AirflowSkipException
from airflow_eip_provider.sensors.azure import AzureSqlFirewallRuleSensor
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from harness.life import Task

UNKNOWN = "eipalloc-00000000000000000"


@pytest.fixture
def allocation_id(ec2: Any) -> str:
    return str(ec2.allocate_address(Domain="vpc")["AllocationId"])


def eip(**given: Any) -> EipAssociationSensor:
    parameters = {"timeout": 60, "poke_interval": 10, "soft_fail": True, "aws_conn_id": None, **given}
    return EipAssociationSensor(task_id="sense", **parameters)


@pytest.mark.parametrize("given", [{}, {"expect": "fre"}, {"job_flow_id": "j-1", "expect": "free "}], ids=str)
def test_a_wrong_address_or_parameter_fails(clocked, given, deferrable):
    with pytest.raises(AirflowFailException):
        Task(eip(allocation_id=UNKNOWN, deferrable=deferrable, **given)).run()


@pytest.mark.parametrize("given", [{"servers": ["sales"]}, {"servers": []}, {"public_ip": "10.0.0.1"}], ids=str)
def test_a_wrong_server_or_address_of_azure_fails(clocked, given, deferrable):
    pytest.importorskip("airflow.providers.microsoft.azure", reason="the extra azure is not installed")
    server = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Sql/servers/sales"
    parameters = {"servers": [server], "public_ip": "203.0.113.1", "timeout": 60, "soft_fail": True, **given}
    with pytest.raises(AirflowFailException):
        Task(AzureSqlFirewallRuleSensor(task_id="sense", aws_conn_id=None, deferrable=deferrable, **parameters)).run()


def test_an_address_that_is_released_meanwhile_fails(clocked, allocation_id, deferrable, ec2):
    clocked.clock.call_later(25, lambda: ec2.release_address(AllocationId=allocation_id), name="somebody releases it")
    with pytest.raises(AirflowFailException, match=allocation_id):
        Task(eip(allocation_id=allocation_id, deferrable=deferrable)).run()


def test_what_does_not_happen_in_time_is_skipped(clocked, allocation_id, deferrable):
    with pytest.raises(AirflowSkipException):
        Task(eip(allocation_id=allocation_id, deferrable=deferrable)).run()


def test_the_error_is_the_sensors_own(clocked, deferrable):
    with pytest.raises(AirflowFailException, match=f"looking up Elastic IP '{UNKNOWN}'"):
        Task(eip(allocation_id=UNKNOWN, deferrable=deferrable)).run()
