"""The environment of a benchmark: settings that lead AWS clients to the local EMR, and an address with a cluster."""

from __future__ import annotations

import functools
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import structlog
from botocore.loaders import JSONFileLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_emr import LocalAws


@contextmanager
def environment(aws: LocalAws) -> Iterator[None]:
    """Lead every AWS client of this process to the local EMR, and silence the logs of the tasks."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": aws.endpoint_url,
            "AWS_DEFAULT_REGION": aws.region,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        # Every hook makes its own session, and each session parses the service models.
        parse = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
        patch.setattr(JSONFileLoader, "load_file", lambda _, file_path: parse(file_path))
        logging.disable(logging.CRITICAL)
        before = structlog.get_config()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        try:
            yield
        finally:
            structlog.configure(**before)
            logging.disable(logging.NOTSET)


def clients() -> Callable[[str], Any]:
    """Return a function that returns the client of a service, and makes each one once."""
    return functools.cache(boto3.client)


@dataclass(frozen=True, slots=True)
class Address:
    """
    An Elastic IP, or several of which any will do, and the cluster that is launched for it.

    :param job_flow: parameters of RunJobFlow.
    :param others: the allocation IDs besides the first.
    """

    allocation_id: str
    job_flow: dict[str, Any]
    others: tuple[str, ...] = ()

    @property
    def allocation_ids(self) -> list[str]:
        """All allocation IDs."""
        return [self.allocation_id, *self.others]

    @classmethod
    def allocated(cls, aws: LocalAws, *, count: int = 1) -> Address:
        """Allocate addresses in the default VPC of a new local EMR."""
        ec2 = boto3.client("ec2", endpoint_url=aws.endpoint_url)
        first, *others = (ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(count))
        return cls(
            first,
            others=tuple(others),
            job_flow={
                "Name": "daily",
                "ReleaseLabel": "emr-7.5.0",
                "JobFlowRole": "EMR_EC2_DefaultRole",
                "ServiceRole": "EMR_DefaultRole",
                "Instances": {
                    "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}],
                    "KeepJobFlowAliveWhenNoSteps": True,
                    "Ec2SubnetId": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
                },
            },
        )
