"""``airflow-eip iam-policy``: the policy for a configuration, printed."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.iam_policy import Configuration, policy_document

ADDRESS = "eipalloc-0123456789abcdef0"
SERVICE, INSTANCE, RUNTIME = (f"arn:aws:iam::123456789012:role/{name}" for name in ("emr", "ec2", "reader"))
NEEDED = ["iam-policy", "--allocation-id", ADDRESS, "--service-role", SERVICE, "--instance-role", INSTANCE]
PLACE = ["--account", "123456789012", "--region", "eu-west-1"]


@pytest.fixture
def printed(run: Any) -> Any:
    """Run the command, and return the document."""

    def document(*arguments: str) -> dict[str, Any]:
        said = run(*NEEDED, *arguments)
        assert said.status == 0
        return said.result

    return document


def expected(**given: Any) -> dict[str, Any]:
    place = {"allocation_ids": [ADDRESS], "region": "eu-west-1", "account": "123456789012"}
    return policy_document(Configuration(**place, service_roles=[SERVICE], instance_roles=[INSTANCE], **given))


def test_what_it_prints_is_the_policy_for_the_options(printed):
    store, logs = "s3://leases/eip", "s3://logs/emr/"
    options = ["--binding", "primary", "--lock-store", store, "--log-uri", logs, "--execution-role", RUNTIME]
    assert printed(*PLACE, *options) == expected(lock_store=store, log_uri=logs, execution_roles=[RUNTIME])


def test_a_nat_gateways_policy_names_its_subnets_and_route_tables(printed):
    subnet, table = "subnet-0123456789abcdef0", "rtb-0123456789abcdef0"
    options = ["--binding", "nat-gateway", "--public-subnet", subnet, "--route-table", table]
    document = printed(*PLACE, *options)
    assert document == expected(binding="nat-gateway", public_subnets=[subnet], route_tables=[table])
    routes = next(s for s in document["Statement"] if s["Sid"] == "LeadRoutes")
    assert [arn.rpartition("/")[2] for arn in routes["Resource"]] == [table]
    assert not {s["Sid"] for s in document["Statement"]} & {"Associate", "Disassociate"}


def test_watching_and_load_balancers_are_parts_of_their_own(printed):
    group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/livy/0123456789abcdef"
    document = printed(*PLACE, "--health", "--target-group", group)
    assert document == expected(health=True, target_groups=[group])
    sids = {s["Sid"]: s for s in document["Statement"]}
    assert sids["ChangeTargets"]["Resource"] == [group]
    assert sids.keys() - {s["Sid"] for s in printed(*PLACE)["Statement"]} == {
        "LookAtHealth",
        "LookAtTargets",
        "ChangeTargets",
    }


def test_several_addresses_share_a_policy(printed):
    other = "eipalloc-0123456789abcdef1"
    associate = next(s for s in printed(*PLACE, "--allocation-id", other)["Statement"] if s["Sid"] == "Associate")
    assert [arn.rpartition("/")[2] for arn in associate["Resource"]] == [ADDRESS, other, "*", "*"]


def test_the_lock_store_is_the_configured_one_unless_one_is_named(printed, monkeypatch):
    monkeypatch.setenv("AIRFLOW__EIP__LOCK_STORE", "dynamodb://leases")
    assert printed(*PLACE) == expected(lock_store="dynamodb://leases")


def test_account_and_region_are_the_connections_unless_they_are_named(local_aws, printed):
    assert printed() == expected()
    assert [event["operation"] for event in local_aws.events.calls()] == ["GetCallerIdentity"]


@pytest.mark.parametrize(
    ("arguments", "in_message"),
    [
        (["--log-uri", "/tmp"], "/tmp"),
        (["--service-role", "EMR_DefaultRole"], "service_roles 'EMR_DefaultRole': it is not the ARN of a role"),
        (["--allocation-id", "foo"], "allocation_id 'foo'"),
        (["--account", "12"], "account '12'"),
        (["--target-group", "livy"], "target_groups 'livy': it is not the ARN of a target group"),
        (["--region", "nowhere"], "region 'nowhere'"),
        (["--binding", "nat-gateway", "--public-subnet", "subnet-0123456789abcdef0"], "one is missing"),
        (["--public-subnet", "subnet-0123456789abcdef0"], "binding primary has none"),
    ],
)
def test_a_wrong_option_is_named_and_aws_is_not_asked(local_aws, run, arguments, in_message):
    said = run(*NEEDED, *arguments)
    assert (said.status, said.out) == (2, "")
    assert in_message in said.err
    assert local_aws.events.calls() == []


def test_a_binding_that_is_none_is_wrong_usage(run):
    said = run(*NEEDED, "--binding", "foo")
    assert said.status == 2
    assert "nat-gateway" in said.err
