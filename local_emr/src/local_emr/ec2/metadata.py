"""The instance metadata service, version 2 (HTTP with a session token)."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Protocol

from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from threading import RLock

    from local_emr.calls import Environ
    from local_emr.ec2.api import Ec2

PREFIX = "/_imds/"
"""An instance's service is at ``/_imds/INSTANCE/``; no bucket's name begins with an underscore."""

_TOKEN = "latest/api/token"  # noqa: S105 - a path
_TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105 - a header's name
_TTLS = range(1, 21_600 + 1)


class Services(Protocol):
    """Gives access to the instances."""

    region: str
    lock: RLock

    def ec2(self, region: str) -> Ec2:
        """Return a region's EC2."""


class InstanceMetadata:
    """
    Answers as 169.254.169.254 on an instance.

    (Docs: EC2 user guide, "Use the Instance Metadata Service to access instance metadata".)
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tokens: dict[tuple[str, str], float] = {}

    def handles(self, environ: Environ) -> bool:
        """Return whether a request is for an instance's metadata."""
        return str(environ.get("PATH_INFO", "")).startswith(PREFIX)

    def answer(self, environ: Environ) -> Response:
        """Answer in plain text."""
        request = Request(environ)
        instance_id, _, path = request.path.removeprefix(PREFIX).partition("/")
        # The endpoint may end with a slash, and SDKs request the Availability Zone with a trailing slash.
        path = path.strip("/")
        with self._services.lock:
            found = self._services.ec2(self._services.region).instances.find([instance_id])
            if not found:
                return _text("no such instance", status=404)
            if path == _TOKEN:
                return self._give_token(request, instance_id)
            if request.method not in {"GET", "HEAD"}:
                return _text("method not allowed", status=405)
            token = request.headers.get(_TOKEN_HEADER, "")
            if self._tokens.get((instance_id, token), 0.0) <= time.monotonic():
                return _text("unauthorized", status=401)
            text = _read(metadata_of(found[0]), path)
        return _text("not found", status=404) if text is None else _text(text)

    def _give_token(self, request: Request, instance_id: str) -> Response:
        if request.method != "PUT":
            return _text("method not allowed", status=405)
        ttl = request.headers.get(_TTL_HEADER, "")
        if not ttl.isdigit() or int(ttl) not in _TTLS:
            return _text(f"{_TTL_HEADER} must be from 1 to 21600", status=400)
        now = time.monotonic()  # programs on an instance run in real time
        self._tokens = {key: end for key, end in self._tokens.items() if end > now}
        token = secrets.token_urlsafe(40)
        self._tokens[instance_id, token] = now + int(ttl)
        return _text(token, headers={_TTL_HEADER: ttl})


def metadata_of(instance: Any) -> dict[str, str]:
    """Return an instance's metadata: path → text."""
    interface, subnet = instance.nics[0], instance.nics[0].subnet
    region, zone = subnet.ec2_backend.region_name, subnet.availability_zone
    document = {
        "accountId": interface.owner_id,
        "architecture": "x86_64",
        "availabilityZone": zone,
        "imageId": instance.image_id,
        "instanceId": instance.id,
        "instanceType": instance.instance_type,
        "privateIp": interface.private_ip_address,
        "region": region,
        "version": "2017-09-30",
    }
    network = {
        "device-number": "0",
        "interface-id": interface.id,
        "local-ipv4s": interface.private_ip_address,
        "mac": interface.mac_address,
        "owner-id": interface.owner_id,
        "public-ipv4s": interface.public_ip,
        "subnet-id": subnet.id,
        "subnet-ipv4-cidr-block": subnet.cidr_block,
        "vpc-id": subnet.vpc_id,
    }
    data = {
        "ami-id": instance.image_id,
        "instance-id": instance.id,
        "instance-type": instance.instance_type,
        "local-hostname": instance.private_dns_name,
        "local-ipv4": interface.private_ip_address,
        "mac": interface.mac_address,
        "placement/availability-zone": zone,
        "placement/region": region,
        "public-ipv4": interface.public_ip,
        **{f"network/interfaces/macs/{interface.mac_address}/{name}": text for name, text in network.items()},
    }
    return {
        "latest/dynamic/instance-identity/document": json.dumps(document, indent=2),
        **{f"latest/meta-data/{name}": str(text) for name, text in data.items() if text is not None},
    }


def _read(metadata: dict[str, str], path: str) -> str | None:
    """Return the value of a path, or the names below it; names that have children end with a slash."""
    if path in metadata:
        return metadata[path]
    directory = f"{path}/"
    below = (name.removeprefix(directory).partition("/") for name in metadata if name.startswith(directory))
    names = sorted({f"{head}{slash}" for head, slash, _ in below})
    return "\n".join(names) or None


def _text(text: str, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(text, status=status, headers=headers, content_type="text/plain")
