"""The expected results of both kinds of templates."""

from __future__ import annotations

from typing import Any

from airflow_eip_provider.iam_policy import Configuration, policy_document
from local_emr.iam.policy import Question

ACCOUNT = "123456789012"
SERVICE_ROLE, INSTANCE_ROLE = (
    f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("EMR_DefaultRole", "EMR_EC2_DefaultRole")
)

CLUSTER_DENIED = [
    Question("ec2:AssociateAddress", f"arn:aws:ec2:eu-west-1:{ACCOUNT}:elastic-ip/eipalloc-1"),
    Question("ec2:DisassociateAddress", f"arn:aws:ec2:eu-west-1:{ACCOUNT}:elastic-ip/eipalloc-1"),
    Question("ec2:ReleaseAddress", f"arn:aws:ec2:eu-west-1:{ACCOUNT}:elastic-ip/eipalloc-1"),
    Question("dynamodb:PutItem", f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/airflow-eip-leases"),
    Question("elasticmapreduce:RemoveTags", "arn:x", {"aws:TagKeys": ("team", "airflow-eip:allocation-id")}),
    Question("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/EMR_EC2_DefaultRole"),
    Question("iam:DeleteRolePermissionsBoundary", f"arn:aws:iam::{ACCOUNT}:role/EMR_EC2_DefaultRole"),
    Question("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/any", {"iam:PassedToService": "lambda.amazonaws.com"}),
]
CLUSTER_ALLOWED = [
    Question("s3:GetObject", "arn:aws:s3:::data/key"),
    Question("ec2:RunInstances", f"arn:aws:ec2:eu-west-1:{ACCOUNT}:instance/*"),
    Question("ec2:DescribeAddresses", "*"),
    Question("dynamodb:PutItem", f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/orders"),
    Question("elasticmapreduce:AddTags", "arn:x", {"aws:TagKeys": ("team",)}),
    Question("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/any", {"iam:PassedToService": "ec2.amazonaws.com"}),
    Question("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/reader"),
]


def expected_policy(allocation_id: str, *, log_uri: str, **further: Any) -> dict[str, Any]:
    """
    Return the policy that the package prints for the parameters of the templates.

    :param further: other fields of the configuration.
    """
    return policy_document(
        Configuration(
            allocation_ids=[allocation_id],
            region="eu-west-1",
            account=ACCOUNT,
            service_roles=[SERVICE_ROLE],
            instance_roles=[INSTANCE_ROLE],
            lock_store="dynamodb://airflow-eip-leases",
            log_uri=log_uri,
            **further,
        )
    )


def read_document(iam: Any, arn: str) -> dict[str, Any]:
    """Read the document of a managed policy."""
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document: dict[str, Any] = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return document
