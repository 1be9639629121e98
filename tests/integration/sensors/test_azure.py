"""AzureSqlFirewallRuleSensor: waits until each server admits the address."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from airflow_eip_provider.sensors.azure import AzureSqlFirewallRuleSensor
from harness.life import Task
from local_emr.azure_sql.firewall import Rule
from tests.azure_fixtures import SERVER_ID, arm_calls, azure

pytest.importorskip("airflow.providers.microsoft.azure", reason="the extra azure is not installed")

__all__ = ["arm_calls", "azure"]

IP = "203.0.113.99"
READ = "Microsoft.Sql/servers/firewallRules/read"


def sensor(**parameters: Any) -> AzureSqlFirewallRuleSensor:
    given = {"public_ip": IP, "servers": [SERVER_ID], "aws_conn_id": None, "poke_interval": 15, **parameters}
    return AzureSqlFirewallRuleSensor(task_id="sense", **given)


def test_a_registered_address_is_seen_at_once_in_both_modes(azure, deferrable):
    azure.firewall.put(Rule("office", "203.0.113.0", "203.0.113.255"))
    task = Task(sensor(deferrable=deferrable))
    assert task.run() == {"public_ip": IP, "servers": {SERVER_ID: ["'office' (203.0.113.0 to 203.0.113.255)"]}}
    assert task.deferrals == []


def test_a_rule_that_comes_later_is_seen_with_the_same_result_in_both_modes(azure, clocked, deferrable):
    clocked.clock.call_later(100, lambda: azure.firewall.put(Rule("emr", IP, IP)), name="somebody registers it")
    task = Task(sensor(deferrable=deferrable))
    assert task.run()["servers"] == {SERVER_ID: [f"'emr' ({IP})"]}
    assert bool(task.deferrals) is deferrable


def test_the_address_of_an_elastic_ip_is_looked_up(azure, ec2):
    made = ec2.allocate_address(Domain="vpc")
    azure.firewall.put(Rule("emr", made["PublicIp"], made["PublicIp"]))
    found = Task(sensor(public_ip=None, allocation_id=made["AllocationId"])).run()
    assert found["public_ip"] == made["PublicIp"]


def test_an_address_that_is_never_registered_times_out_or_skips(azure, deferrable):
    with pytest.raises(AirflowSensorTimeout):
        Task(sensor(timeout=60, deferrable=deferrable)).run()
    with pytest.raises(AirflowSkipException):
        Task(sensor(timeout=60, deferrable=deferrable, soft_fail=True)).run()


def test_throttling_is_waited_out(azure, clocked, deferrable):
    clocked.faults.add(operation=READ, kind="throttle", times=13)  # longer than azure-core tries
    clocked.clock.call_later(60, lambda: azure.firewall.put(Rule("emr", IP, IP)), name="somebody registers it")
    assert Task(sensor(deferrable=deferrable)).run()["public_ip"] == IP


def test_an_identity_endpoint_that_does_not_respond_for_a_minute_is_waited_out(azure, clocked, monkeypatch, deferrable):
    """azure-identity raises the error of refused credentials then, but without a response of Azure."""
    from airflow.providers.microsoft.azure.hooks.base_azure import AzureBaseHook  # noqa: PLC0415 - an extra
    from azure.core.credentials import AccessToken  # noqa: PLC0415 - an extra
    from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415 - an extra

    class Identity:
        def get_token(self, *_: Any, **__: Any) -> AccessToken:
            now = clocked.clock.now()
            if timedelta(0) < now - begun < timedelta(minutes=1):
                raise ClientAuthenticationError(message="failed to retrieve a token:\n\t503")
            return AccessToken("local", int(now.timestamp()))

    begun = clocked.clock.now()
    monkeypatch.setattr(AzureBaseHook, "get_credential", lambda *_, **__: Identity())
    clocked.clock.call_later(100, lambda: azure.firewall.put(Rule("emr", IP, IP)), name="somebody registers it")
    assert Task(sensor(deferrable=deferrable)).run()["public_ip"] == IP


def test_a_wrong_password_fails_at_once(azure, monkeypatch, deferrable):
    """azure-identity's error has no response then either, but the code of Microsoft Entra ID."""
    from airflow.providers.microsoft.azure.hooks.base_azure import AzureBaseHook  # noqa: PLC0415 - an extra
    from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415 - an extra

    class Identity:
        def get_token(self, *_: Any, **__: Any) -> None:
            raise ClientAuthenticationError(message="Authentication failed: AADSTS7000215: Invalid client secret")

    monkeypatch.setattr(AzureBaseHook, "get_credential", lambda *_, **__: Identity())
    with pytest.raises(AirflowFailException, match=r"AADSTS7000215.*check login, password and tenantId"):
        Task(sensor(deferrable=deferrable)).run()


@pytest.mark.parametrize("servers", [[SERVER_ID.replace("sales", "orders")], ["sales"], []])
def test_what_no_waiting_mends_fails_at_once(azure, deferrable, servers):
    with pytest.raises(AirflowFailException):
        Task(sensor(servers=servers, deferrable=deferrable)).run()


def test_a_text_is_neither_true_nor_false(azure):
    with pytest.raises(AirflowFailException, match=r"deferrable 'False'.*without quotes"):
        Task(sensor(deferrable="False")).run()


def test_a_permission_that_is_taken_away_meanwhile_fails_the_trigger(azure, clocked):
    task = Task(sensor(deferrable=True))
    task.start()
    clocked.deny(READ)
    with pytest.raises(Exception, match="AuthorizationFailed"):
        task.go_on()


def test_with_several_addresses_it_waits_until_every_one_is_admitted(azure, clocked, ec2, deferrable):
    made = sorted((ec2.allocate_address(Domain="vpc") for _ in range(2)), key=lambda one: one["AllocationId"])
    first, last = (one["PublicIp"] for one in made)
    azure.firewall.put(Rule("one", first, first))
    clocked.clock.call_later(100, lambda: azure.firewall.put(Rule("two", last, last)), name="somebody registers it")
    began = clocked.clock.now()
    pool = [one["AllocationId"] for one in made]
    found = Task(sensor(public_ip=None, allocation_id=pool, deferrable=deferrable)).run()
    assert (clocked.clock.now() - began).total_seconds() >= 100
    assert found == {
        "public_ips": [first, last],
        "servers": {SERVER_ID: {first: [f"'one' ({first})"], last: [f"'two' ({last})"]}},
    }


def test_a_list_of_one_has_the_result_of_several(azure, ec2):
    made = ec2.allocate_address(Domain="vpc")
    azure.firewall.put(Rule("emr", made["PublicIp"], made["PublicIp"]))
    assert Task(sensor(public_ip=None, allocation_id=[made["AllocationId"]])).run()["public_ips"] == [made["PublicIp"]]


def test_the_address_that_is_not_registered_is_named(azure, ec2):
    made = sorted((ec2.allocate_address(Domain="vpc") for _ in range(2)), key=lambda one: one["AllocationId"])
    azure.firewall.put(Rule("one", made[0]["PublicIp"], made[0]["PublicIp"]))
    found = sensor(public_ip=None, allocation_id=[one["AllocationId"] for one in made]).poll()
    assert found.message == f"{made[1]['PublicIp']} is not registered with Azure SQL server sales"
