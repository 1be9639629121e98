"""Service Quotas: how many vCPUs may run."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from local_emr.quotas import STANDARD_VCPUS


@pytest.fixture
def quotas(boto):
    return boto("service-quotas")


def test_the_quota_of_standard_instances_is_what_it_was_set_to(quotas, local_emr):
    """[docs: Service Quotas API, GetServiceQuota]."""
    local_emr.quotas.values[STANDARD_VCPUS] = 5.0
    found = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=STANDARD_VCPUS)["Quota"]
    assert (found["QuotaCode"], found["Value"]) == (STANDARD_VCPUS, 5.0)
    local_emr.reset()
    assert quotas.get_service_quota(ServiceCode="ec2", QuotaCode=STANDARD_VCPUS)["Quota"]["Value"] > 5.0


def test_a_quota_that_is_unknown_is_refused(quotas):
    with pytest.raises(ClientError, match="NoSuchResource"):
        quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-00000000")


def test_terminating_an_instance_is_asked_of_iam_with_its_tags(boto, local_emr, start_cluster, primary_of):
    """[docs: Service Authorization Reference, EC2, TerminateInstances]."""
    ours, others = (start_cluster(Tags=[{"Key": "team", "Value": name}]) for name in ("data", "web"))
    local_emr.clock.advance(60)
    allow = {"Effect": "Allow", "Action": "ec2:TerminateInstances", "Resource": "arn:aws:ec2:*:*:instance/*"}
    tagged = {**allow, "Condition": {"StringEquals": {"aws:ResourceTag/team": "data"}}}
    local_emr.enforce({"Statement": [tagged]}, access_key_id="somebody")
    ec2 = boto("ec2", aws_access_key_id="somebody", aws_secret_access_key="testing")
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        ec2.terminate_instances(InstanceIds=[primary_of(others).id])
    ec2.terminate_instances(InstanceIds=[primary_of(ours).id])
