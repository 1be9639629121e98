"""The instance metadata service, as a program on the instance finds it: version 2 only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from botocore.utils import InstanceMetadataRegionFetcher

if TYPE_CHECKING:
    from collections.abc import Callable

TTL, TOKEN = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"


class Service:
    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, method: str, path: str, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return urllib3.request(method, f"{self.url}/latest/{path}", headers=named)

    def token(self, ttl: str = "60") -> str:
        answer = self.ask("PUT", "api/token", **{TTL: ttl})
        assert (answer.status, answer.headers[TTL]) == (200, ttl)
        return str(answer.data.decode())

    def get(self, path: str) -> str:
        answer = self.ask("GET", path, **{TOKEN: self.token()})
        assert answer.status == 200, path
        return str(answer.data.decode())


@pytest.fixture
def instance_id(launch: Callable[[], tuple[str, str]]) -> str:
    return launch()[0]


@pytest.fixture
def service(local_emr: Any, instance_id: str) -> Service:
    return Service(f"{local_emr.endpoint_url}/_imds/{instance_id}")


def test_it_returns_the_same_as_ec2(service: Service, ec2: Any, instance_id: str) -> None:
    [instance] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    interface = instance["NetworkInterfaces"][0]
    mac = service.get("meta-data/mac")
    assert mac == interface["MacAddress"]
    assert {
        name: service.get(f"meta-data/{name}")
        for name in ("instance-id", "local-ipv4", "public-ipv4", "placement/availability-zone", "placement/region")
    } == {
        "instance-id": instance_id,
        "local-ipv4": instance["PrivateIpAddress"],
        "public-ipv4": instance["PublicIpAddress"],
        "placement/availability-zone": instance["Placement"]["AvailabilityZone"],
        "placement/region": "eu-west-1",
    }
    assert {
        name: service.get(f"meta-data/network/interfaces/macs/{mac}/{name}")
        for name in ("interface-id", "subnet-id", "vpc-id")
    } == {
        "interface-id": interface["NetworkInterfaceId"],
        "subnet-id": instance["SubnetId"],
        "vpc-id": instance["VpcId"],
    }
    document = json.loads(service.get("dynamic/instance-identity/document"))
    assert (document["instanceId"], document["region"]) == (instance_id, "eu-west-1")


def test_it_follows_the_elastic_ip(service: Service, ec2: Any, instance_id: str) -> None:
    made = ec2.allocate_address(Domain="vpc")
    association = ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=instance_id)["AssociationId"]
    assert service.get("meta-data/public-ipv4") == made["PublicIp"]
    ec2.disassociate_address(AssociationId=association)
    if "public-ipv4" in service.get("meta-data").split("\n"):
        assert service.get("meta-data/public-ipv4") != made["PublicIp"]


def test_a_directory_lists_what_is_below_it(service: Service) -> None:
    mac = service.get("meta-data/mac")
    assert {"instance-id", "network/", "placement/"} <= set(service.get("meta-data/").split("\n"))
    assert service.get("meta-data/network/interfaces/macs/") == f"{mac}/"


def test_slashes_do_not_matter_where_clients_put_them_differently(service: Service, instance_id: str) -> None:
    service.url += "/"
    assert service.get("meta-data/instance-id/") == instance_id


@pytest.mark.parametrize("headers", [{}, {TOKEN: "made-up"}], ids=["none", "wrong"])
def test_without_a_token_it_returns_nothing(service: Service, headers: dict[str, str]) -> None:
    assert service.ask("GET", "meta-data/instance-id", **headers).status == 401


def test_a_token_is_its_instances_alone_and_ends(
    service: Service, local_emr: Any, launch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = service.token(ttl="60")
    other = Service(f"{local_emr.endpoint_url}/_imds/{launch()[0]}")
    assert other.ask("GET", "meta-data/instance-id", **{TOKEN: token}).status == 401
    assert service.ask("GET", "meta-data/instance-id", **{TOKEN: token}).status == 200
    monkeypatch.setattr("local_emr.ec2.metadata.time.monotonic", lambda: float("inf"))
    assert service.ask("GET", "meta-data/instance-id", **{TOKEN: token}).status == 401


@pytest.mark.parametrize("headers", [{}, {TTL: "0"}, {TTL: "21601"}, {TTL: "long"}])
def test_a_token_needs_a_time_to_live_of_up_to_six_hours(service: Service, headers: dict[str, str]) -> None:
    assert service.ask("PUT", "api/token", **headers).status == 400


def test_what_is_not_there_is_not_found(service: Service, local_emr: Any) -> None:
    assert service.ask("GET", "meta-data/iam/security-credentials/", **{TOKEN: service.token()}).status == 404
    assert Service(f"{local_emr.endpoint_url}/_imds/i-unknown").ask("PUT", "api/token", **{TTL: "60"}).status == 404


def test_the_sdk_finds_its_region_there(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    assert InstanceMetadataRegionFetcher(base_url=f"{service.url}/").retrieve_region() == "eu-west-1"
