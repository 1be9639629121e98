"""The policy against AWS's Service Authorization Reference, and what the operators say that they need."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import pytest
from policy_sentry.querying.actions import get_privilege_info
from policy_sentry.querying.arns import get_arn_type_details

from airflow_eip_provider.cli.drill.resources import Resources
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.iam_policy import policy_document
from airflow_eip_provider.operators.eip import EipAssociateOperator, EipReleaseOperator
from airflow_eip_provider.operators.elbv2 import NlbTargetsOperator
from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator,
    EmrCreateWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
)
from airflow_eip_provider.operators.failover import EmrFailoverOperator
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from airflow_eip_provider.sensors.emr import EmrPrimaryHealthSensor
from airflow_eip_provider.stores.dynamodb import DynamoDbStore
from airflow_eip_provider.stores.s3 import S3Store
from tests.integration.iam.scenarios import SCENARIOS
from tests.integration.iam.stage import (
    BEHIND_GATEWAYS,
    BEHIND_TAGGED,
    DYNAMODB,
    LONG_RUNNING,
    S3,
    TAGGED,
    configuration,
)

ADDRESS = "eipalloc-0123456789abcdef0"
OPERATORS = (
    EmrCreateWithStaticIpOperator,
    EmrAddStepsWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
    EipAssociateOperator,
    EipReleaseOperator,
    NlbTargetsOperator,
    EmrFailoverOperator,
)
STORES = (DynamoDbStore, S3Store)
# Global condition keys, which the reference does not list with each action (IAM User Guide).
GLOBAL_KEYS = {"aws:requestedregion"}


def documents() -> list[dict[str, Any]]:
    given = (
        {"lock_store": DYNAMODB},
        {"lock_store": S3},
        BEHIND_GATEWAYS,
        LONG_RUNNING,
        TAGGED,
        BEHIND_TAGGED,
    )
    return [policy_document(configuration(ADDRESS, **each)) for each in given]


STATEMENTS = {
    f"{statement['Sid']}-{action}": (action, statement)
    for document in documents()
    for statement in document["Statement"]
    for action in statement["Action"]
}


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def plain(key: str) -> str:
    """Return a condition key as the reference writes it."""
    return re.sub(r"(tag)/.*", r"\1/", key.lower())


@pytest.mark.parametrize(("action", "statement"), STATEMENTS.values(), ids=STATEMENTS)
def test_the_reference_knows_the_action_its_resources_and_its_conditions(action, statement):
    service, name = action.split(":")
    if service == "servicequotas" and version("policy_sentry") < "0.15.2":
        pytest.skip("this policy_sentry does not know the resources of Service Quotas")
    known = get_privilege_info(service, name)["resource_types"]
    types = [get_arn_type_details(service, kind) for kind in known if kind]
    patterns = [re.sub(r"\$\{\w+\}", ".*", details["raw_arn"]) for details in types]
    for resource in as_list(statement["Resource"]):
        assert resource == "*" or any(re.fullmatch(pattern, resource) for pattern in patterns)
    if statement["Resource"] == "*":
        assert not patterns, "it could be limited to a resource"
    keys = {plain(key) for details in known.values() for key in details["condition_keys"]}
    keys |= {plain(key) for details in types for key in details["condition_keys"] or ()}
    used = {plain(key) for keys_of in statement.get("Condition", {}).values() for key in keys_of}
    assert used <= keys | GLOBAL_KEYS


def named_in(*classes: type) -> set[str]:
    """Return the actions in docstrings, where "…" stands for the service before it."""
    found, service = set(), ""
    for prefix, action in re.findall(r"(?:([a-z0-9]+)|…):([A-Z]\w+)", "".join(str(cls.__doc__) for cls in classes)):
        service = prefix or service
        found.add(f"{service}:{action}")
    return found


def test_docstrings_and_policy_name_the_same_actions():
    said = named_in(*OPERATORS, *STORES, EipAssociationSensor, EmrPrimaryHealthSensor, Resources)
    assert said == {action for action, _ in STATEMENTS.values()}


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_needs_nothing_that_its_docstring_does_not_name(play, operator):
    needed = set().union(*(play(name).needed.get(operator, set()) for name in SCENARIOS))
    assert needed
    assert needed <= named_in(operator, *STORES)


def test_it_fits_into_a_managed_policy():
    """At most 6,144 characters, white space not counted (IAM User Guide, "IAM and AWS STS quotas")."""
    longest = max(len(re.sub(r"\s", "", repr(document))) for document in documents())
    assert longest < 6144


def test_other_partitions_have_arns_and_services_of_their_own():
    role = "arn:aws-cn:iam::123456789012:role/emr"
    given = {"region": "cn-north-1", "service_roles": [role], "instance_roles": [role], "log_uri": None}
    text = repr(policy_document(configuration(ADDRESS, autoscaling_roles=[], execution_roles=[], **given)))
    assert "arn:aws:" not in text
    assert "'ec2.amazonaws.com.cn'" in text


def test_step_logs_are_allowed_wherever_log_uri_may_lead():
    given = configuration(ADDRESS, log_uri="s3://logs//emr//x/")
    (logs,) = [s["Resource"] for s in policy_document(given)["Statement"] if s["Sid"] == "StepLogs"]
    prefixes = ["/emr//x/", "emr//x/", "emr/x/"]
    assert logs == [f"arn:aws:s3:::logs/{prefix}j-*/steps/*" for prefix in prefixes]


def test_a_lock_store_in_another_region_is_allowed_there():
    given = configuration(ADDRESS, lock_store="dynamodb://leases?region=us-east-1")
    tables = {s["Resource"] for s in policy_document(given)["Statement"] if s["Sid"].startswith("Lock")}
    assert tables == {"arn:aws:dynamodb:us-east-1:123456789012:table/leases"}


@pytest.mark.parametrize(
    ("given", "in_message"),
    [
        ({"allocation_ids": []}, "allocation_ids"),
        ({"allocation_ids": ["203.0.113.7"]}, "203.0.113.7"),
        ({**TAGGED, "address_tags": {"purpose": []}}, "purpose"),
        ({"region": "eu-west"}, "eu-west"),
        ({"account": "12"}, "12 digits"),
        ({"service_roles": []}, "service role"),
        ({"instance_roles": ["EMR_EC2_DefaultRole"]}, "EMR_EC2_DefaultRole"),
        ({"lock_store": "redis://leases"}, "redis"),
        ({"log_uri": "/tmp/logs"}, "/tmp/logs"),
        ({"binding": "loadbalancer"}, "loadbalancer"),
        ({**BEHIND_GATEWAYS, "route_tables": []}, "route_tables"),
        ({**BEHIND_GATEWAYS, "binding": "primary"}, "public_subnets"),
        ({**BEHIND_GATEWAYS, "public_subnets": ["public"]}, "public"),
    ],
)
def test_a_wrong_configuration_is_an_error_that_names_it(given, in_message):
    with pytest.raises(InvalidInputError, match=in_message):
        policy_document(configuration(ADDRESS, **given))
