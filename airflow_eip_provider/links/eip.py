"""The Elastic IP in the EC2 console."""

from __future__ import annotations

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink


class ElasticIpLink(BaseAwsLink):
    """Opens the address's page in the EC2 console."""

    name = "Elastic IP"
    key = "elastic_ip"
    format_str = BASE_AWS_CONSOLE_LINK + (
        "/ec2/home?region={region_name}#ElasticIpDetails:AllocationId={allocation_id}"
    )
