"""AzureSqlFirewallRuleOperator: registers the address, changes no rule that is not its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.exceptions import AzureUnavailableError
from airflow_eip_provider.hooks.azure import AzureSqlFirewallHook
from airflow_eip_provider.operators.azure import AzureSqlFirewallRuleOperator
from harness.life import Task
from local_emr.azure_arm import SUBSCRIPTION_ID
from local_emr.azure_sql.firewall import Rule
from tests.azure_fixtures import SERVER_ID, arm_calls, azure, connection

pytest.importorskip("airflow.providers.microsoft.azure", reason="the extra azure is not installed")

__all__ = ["arm_calls", "azure"]

IP = "203.0.113.99"
RULE = f"eip-{IP}"
WRITE = "Microsoft.Sql/servers/firewallRules/write"
READ = "Microsoft.Sql/servers/firewallRules/read"
GOVERNMENT = {"cloud_environment": "AzureUSGovernment"}


def run(**parameters: Any) -> Any:
    address = {} if "allocation_id" in parameters else {"public_ip": IP}
    given = {"servers": [SERVER_ID], "aws_conn_id": None, **address, **parameters}
    return Task(AzureSqlFirewallRuleOperator(task_id="register", **given)).run()


def rules(azure: Any) -> dict[str, tuple[str, str]]:
    return {rule.name: (rule.start_ip_address, rule.end_ip_address) for rule in azure.firewall.rules()}


def test_an_elastic_ip_is_registered_and_admitted_after_azures_delay(azure, clocked, allocation_id, ec2):
    ip = ec2.describe_addresses()["Addresses"][0]["PublicIp"]
    [made] = run(allocation_id=allocation_id)
    assert made == {
        "server": SERVER_ID,
        "rule": f"eip-{ip}",
        "public_ip": ip,
        "outcome": "created",
        "admitted_by": [f"eip-{ip}"],
    }
    assert rules(azure) == {f"eip-{ip}": (ip, ip)}
    assert not azure.firewall.admits(ip)
    clocked.clock.advance(clocked.durations.firewall_rule)
    assert azure.firewall.admits(ip)


def test_a_second_run_writes_nothing(azure, arm_calls):
    run()
    assert run()[0]["outcome"] == "unchanged"
    assert arm_calls() == ["read", "write", "read"]


def test_a_rule_of_the_same_name_and_another_address_is_an_error_and_left_as_it_is(azure, arm_calls):
    azure.firewall.put(Rule("EMR", "203.0.113.1", "203.0.113.2"))
    with pytest.raises(
        AirflowFailException, match=r"rule 'emr'.* allows 203\.0\.113\.1 to 203\.0\.113\.2, and was not changed"
    ):
        run(rule_name="emr")
    with pytest.raises(AirflowFailException, match="another rule_name"):
        run(rule_name="emr", state="absent")
    assert rules(azure) == {"EMR": ("203.0.113.1", "203.0.113.2")}
    assert arm_calls() == ["read", "read"]


def test_a_wider_rule_of_the_same_name_is_no_rule_of_ours(azure):
    azure.firewall.put(Rule(RULE, "203.0.113.0", "203.0.113.255"))
    with pytest.raises(AirflowFailException, match="was not changed"):
        run()


def test_an_address_that_another_rule_admits_is_reported_and_no_rule_is_made(azure, logged, arm_calls):
    azure.firewall.put(Rule("office", "203.0.113.0", "203.0.113.255"))
    [found] = run()
    assert (found["outcome"], found["admitted_by"]) == ("admitted", ["office"])
    assert arm_calls() == ["read"]
    assert "'office' (203.0.113.0 to 203.0.113.255) already" in logged()


def test_the_rule_for_azures_own_services_admits_nobody_else(azure):
    azure.firewall.put(Rule("AllowAllWindowsAzureIps", "0.0.0.0", "0.0.0.0"))
    assert run()[0]["outcome"] == "created"


def test_removing_deletes_its_own_rule_only_and_reports_which_rule_still_admits_the_address(azure, logged):
    run()
    azure.firewall.put(Rule("office", "203.0.113.0", "203.0.113.255"))
    [removed] = run(state="absent")
    assert (removed["outcome"], removed["admitted_by"]) == ("removed", ["office"])
    assert rules(azure) == {"office": ("203.0.113.0", "203.0.113.255")}
    assert "still" in logged()
    assert run(state="absent")[0]["outcome"] == "absent"


def test_every_server_is_looked_at_before_the_first_is_changed(azure, arm_calls):
    missing = SERVER_ID.replace("/sales", "/missing")
    with pytest.raises(AirflowFailException, match=r"'missing': Azure returned ResourceNotFound"):
        run(servers=[SERVER_ID, missing])
    assert rules(azure) == {}
    assert arm_calls() == ["read", "read"]


@pytest.mark.parametrize(
    ("servers", "message"),
    [
        (SERVER_ID.replace("0001/", "0009/"), "SubscriptionNotFound.*check the subscription"),
        (SERVER_ID.replace("Groups/local", "Groups/other"), "ResourceGroupNotFound.*check the resource group"),
        (SERVER_ID.replace("sales", "orders"), "ResourceNotFound.*check the server's name"),
    ],
)
def test_what_azure_does_not_know_fails_with_azures_code_and_the_fix(azure, servers, message):
    with pytest.raises(AirflowFailException, match=message):
        run(servers=servers)


def test_a_missing_permission_names_the_action_and_the_role(azure, clocked):
    clocked.deny(WRITE)
    with pytest.raises(AirflowFailException, match=f"AuthorizationFailed.*{WRITE}.*SQL Security Manager"):
        run()
    assert rules(azure) == {}


def test_throttling_is_waited_out_as_azure_asks(azure, clocked, arm_calls):
    clocked.faults.add(operation=WRITE, kind="throttle", times=2)
    before = clocked.clock.now()
    assert run()[0]["outcome"] == "created"
    assert arm_calls() == ["read", "write", "write", "write"]
    assert (clocked.clock.now() - before).total_seconds() == 2, "two times Retry-After"


def test_throttling_without_end_is_left_to_airflows_retries(azure, clocked):
    clocked.faults.add(operation=READ, kind="throttle", times=99)
    with pytest.raises(AzureUnavailableError, match="429"):
        run()
    clocked.faults.clear()


def test_an_azure_that_cannot_be_reached_is_left_to_airflows_retries(azure, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AZURE_DEFAULT", connection(arm_endpoint="http://127.0.0.1:1", enforce_https=False))
    with pytest.raises(AzureUnavailableError, match="a retry continues"):
        run()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"servers": []}, "names none"),
        ({"servers": ["sales.database.windows.net"]}, "not the resource ID"),
        ({"public_ip": None}, "exactly one"),
        ({"allocation_id": "eipalloc-0123456789abcdef0", "public_ip": IP}, "exactly one"),
        ({"public_ip": "0.0.0.0"}, "not a single public IPv4 address"),
        ({"public_ip": "10.0.0.7"}, "not a single public IPv4 address"),
        ({"public_ip": "203.0.113.0/24"}, "not a single public IPv4 address"),
        ({"allocation_id": "eipalloc-0123456789abcdef0"}, "does not exist in region"),
        ({"rule_name": "a/b"}, "Azure does not accept this name"),
        ({"rule_name": "ends."}, "Azure does not accept this name"),
        ({"state": "wide open"}, "use 'present' or 'absent'"),
        ({"azure_conn_id": "nowhere"}, "'nowhere': it does not exist; create it, of the type Azure"),
    ],
)
def test_bad_input_is_refused_before_azure_is_asked(azure, arm_calls, parameters, message):
    with pytest.raises(AirflowFailException, match=message):
        run(**parameters)
    assert arm_calls() == []


@pytest.mark.parametrize(
    ("extra", "message"),
    [({"cloud_environment": "AzureMoon"}, "use one of AzurePublicCloud"), ({"key_path": "a.json"}, "tenantId")],
)
def test_a_connection_that_is_of_no_use_is_refused(azure, monkeypatch, extra, message):
    monkeypatch.setenv("AIRFLOW_CONN_AZURE_DEFAULT", connection(**extra))
    with pytest.raises(AirflowFailException, match=message):
        run()


def test_a_resource_manager_without_tls_is_sent_nothing_unless_the_connection_allows_it(
    azure, clocked, arm_calls, monkeypatch
):
    monkeypatch.setenv("AIRFLOW_CONN_AZURE_DEFAULT", connection(arm_endpoint=clocked.endpoint_url))
    with pytest.raises(AzureUnavailableError, match="not permitted for non-TLS"):
        run()
    assert arm_calls() == []


def test_the_local_resource_manager_is_shown_the_token_of_the_environments_identity(azure):
    with AzureSqlFirewallHook() as hook:
        client, _ = hook.client_of(SUBSCRIPTION_ID)
        assert client._config.credential.get_token("https://management.azure.com/.default").token == "local"


@pytest.mark.parametrize(
    ("cloud", "endpoint"),
    [({}, "https://management.azure.com"), (GOVERNMENT, "https://management.usgovcloudapi.net")],
)
def test_a_service_principal_is_handed_to_azures_client_and_is_in_no_log(monkeypatch, logged, caplog, cloud, endpoint):
    from azure.identity import ClientSecretCredential  # noqa: PLC0415 - slow

    caplog.set_level("DEBUG")
    monkeypatch.setenv("AIRFLOW_CONN_AZURE_DEFAULT", connection(tenantId=SUBSCRIPTION_ID, **cloud))
    with AzureSqlFirewallHook() as hook:
        config = hook.client_of(SUBSCRIPTION_ID)[0]._config
        assert isinstance(config.credential, ClientSecretCredential)
        assert (config.base_url, config.credential_scopes) == (endpoint, [f"{endpoint}/.default"])
        assert config.subscription_id == SUBSCRIPTION_ID
    assert "s3cr3t-of-azure" not in logged()


def test_without_a_service_principal_azures_own_search_for_credentials_is_used(monkeypatch):
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - slow

    monkeypatch.setenv("AIRFLOW_CONN_AZURE_DEFAULT", '{"conn_type": "azure"}')
    with AzureSqlFirewallHook() as hook:
        assert isinstance(hook.client_of(SUBSCRIPTION_ID)[0]._config.credential, DefaultAzureCredential)


def test_without_the_extra_the_error_names_what_to_install(azure, monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.mgmt.sql", None)
    with pytest.raises(
        AirflowFailException, match=r"'azure.mgmt.sql' is not .*pip install 'airflow-eip-provider\[azure\]'"
    ):
        run()


def test_nothing_of_azures_is_imported_before_it_is_used():
    modules = ", ".join(f"airflow_eip_provider.{kind}.azure" for kind in ("operators", "sensors", "hooks", "triggers"))
    code = f"import sys, {modules}; print(sorted(name for name in sys.modules if name.startswith(('azure', 'msal'))))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


@pytest.fixture
def pool(ec2: Any) -> dict[str, str]:
    """Two addresses with a tag, as the product orders them: public IPs by allocation ID."""
    made = [ec2.allocate_address(Domain="vpc") for _ in range(2)]
    ec2.create_tags(Resources=[one["AllocationId"] for one in made], Tags=[{"Key": "purpose", "Value": "azure-sql"}])
    return {one["AllocationId"]: one["PublicIp"] for one in sorted(made, key=lambda one: one["AllocationId"])}


def test_each_of_several_addresses_gets_a_rule_once_and_loses_it(azure, pool, arm_calls):
    made = run(allocation_id={"tag:purpose": "azure-sql"})
    assert [(one["public_ip"], one["outcome"]) for one in made] == [(ip, "created") for ip in pool.values()]
    assert rules(azure) == {f"eip-{ip}": (ip, ip) for ip in pool.values()}
    assert [one["outcome"] for one in run(allocation_id=str(list(pool)))] == ["unchanged"] * 2
    assert arm_calls() == ["read", "write", "write", "read"]
    assert [one["outcome"] for one in run(allocation_id=list(pool), state="absent")] == ["removed"] * 2
    assert rules(azure) == {}


def test_a_name_that_is_given_for_several_addresses_is_followed_by_each(azure, pool):
    first, second = pool.values()
    run(allocation_id=[next(iter(pool))], rule_name="emr")
    assert set(rules(azure)) == {f"emr-{first}"}, "a list that has one today may have two tomorrow"
    assert [one["outcome"] for one in run(allocation_id=list(pool), rule_name="emr")] == ["unchanged", "created"]
    assert set(rules(azure)) == {f"emr-{first}", f"emr-{second}"}


def test_the_rules_of_all_addresses_are_looked_at_before_the_first_is_made(azure, pool):
    last = list(pool.values())[1]
    azure.firewall.put(Rule(f"eip-{last}", "1.2.3.4", "1.2.3.4"))
    with pytest.raises(AirflowFailException, match="was not changed"):
        run(allocation_id=list(pool))
    assert set(rules(azure)) == {f"eip-{last}"}


def test_a_name_that_has_no_room_for_an_address_is_refused(azure, pool, arm_calls):
    with pytest.raises(AirflowFailException, match="use up to 112 characters"):
        run(allocation_id=list(pool), rule_name="n" * 113)
    assert arm_calls() == []


@pytest.fixture
def create(create_operator: Any, deferrable: Any) -> Any:
    """Make the task that creates a cluster whose address a server has to admit."""

    def make(allocation_id: Any, **parameters: Any) -> Task:
        given = {"servers": [SERVER_ID], "deferrable": deferrable, **parameters}
        return Task(create_operator(allocation_id=allocation_id, **given), dag_id="daily")

    return make


def test_an_address_of_a_pool_that_a_server_does_not_admit_is_left_out_with_a_warning(
    azure, create, pool, logged, arm_calls
):
    (first, refused), (second, admitted) = pool.items()
    azure.firewall.put(Rule("emr", admitted, admitted))
    task = create(list(pool))
    task.run()
    assert task.ti.xcoms["static_ip"]["allocation_id"] == second
    said = " ".join(logged().split())
    assert f"left out: Elastic IP '{first}' ({refused}): Azure SQL server 'sales' has no firewall rule" in said
    assert arm_calls() == ["read"], "once for all addresses"


@pytest.mark.parametrize("count", [1, 2])
def test_no_address_that_every_server_admits_is_an_error_before_anything_changes(
    azure, create, pool, count, assert_nothing_changed, clocked
):
    azure.firewall.put(Rule("AllowAllWindowsAzureIps", "0.0.0.0", "0.0.0.0"))
    named = list(pool)[:count] if count > 1 else next(iter(pool))
    before = len(clocked.events.read())
    with pytest.raises(AirflowFailException, match="server 'sales' has no firewall rule that allows it") as failed:
        create(named).run()
    assert all(name in str(failed.value) for name in list(pool)[:count])
    assert_nothing_changed(after=before)


def test_a_single_address_that_is_admitted_is_bound(azure, create, pool):
    allocation_id, public_ip = next(iter(pool.items()))
    azure.firewall.put(Rule("emr", public_ip, public_ip))
    task = create(allocation_id)
    task.run()
    assert task.ti.xcoms["public_ip"] == public_ip


@pytest.mark.parametrize("servers", [(), "[]", None])
def test_azure_is_not_asked_when_no_server_is_named(clocked, create, pool, servers, monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.mgmt.sql", None)
    assert create(list(pool), servers=servers).run()


def test_servers_may_be_the_text_of_a_list_and_one_that_is_none_is_refused(azure, create, pool):
    allocation_id, public_ip = next(iter(pool.items()))
    azure.firewall.put(Rule("emr", public_ip, public_ip))
    assert create(allocation_id, servers=f"['{SERVER_ID}']").run()
    with pytest.raises(AirflowFailException, match="not the resource ID"):
        create(allocation_id, servers=["sales.database.windows.net"]).run()
