"""The environment of a benchmark: settings through which AWS clients find the local EMR, and an address."""

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

from harness.job_flow import one_node
from local_emr.testing import client_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_emr import LocalAws


@contextmanager
def environment(aws: LocalAws) -> Iterator[None]:
    """Let every AWS client of this process use the local EMR, and disable the logs of the tasks."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in client_environment(aws).items():
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
    """Return a function that returns the client of a service, and creates each client once."""
    return functools.cache(boto3.client)


@dataclass(frozen=True, slots=True)
class Address:
    """
    An Elastic IP, or several, any one of which can be used, and the cluster that is launched for it.

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
            job_flow=one_node("daily", subnet_id=ec2.describe_subnets()["Subnets"][0]["SubnetId"]),
        )
