"""Records the AWS calls of a self-test: the requests that change AWS, and what the answers showed at what time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.stored_hooks import StoredHooks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from airflow_eip_provider.hooks.aws import AwsHooks

_CHANGES = frozenset(
    {
        "RunJobFlow",
        "AssociateAddress",
        "DisassociateAddress",
        "AddJobFlowSteps",
        "CancelSteps",
        "SetTerminationProtection",
        "TerminateJobFlows",
    }
)
_DRY_RUN = frozenset({"DryRunOperation", "UnauthorizedOperation"})


@dataclass(frozen=True, slots=True)
class Call:
    """
    A call that changes AWS.

    :param at: the time of the answer.
    :param error: the code of the error, if any.
    """

    at: datetime
    operation: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What an answer showed; ``None`` when there is nothing yet, or no longer anything."""

    at: datetime
    value: str | None


@dataclass
class Recorder:
    """
    Listens to botocore's events of any number of clients.

    Times are from the ``Date`` header of AWS's answers, in whole seconds, so they can be compared with EMR's timeline
    of a cluster.

    :param say: prints what has changed.
    """

    allocation_id: str
    say: Callable[[str], None]
    job_flow_id: str | None = None
    instance_id: str | None = None
    calls: list[Call] = field(default_factory=list)
    #: AllowReassociation of every AssociateAddress, as it was sent; ``None`` when it was left out.
    reassociation: list[str | None] = field(default_factory=list)
    primary: list[Shown] = field(default_factory=list)  # Ec2InstanceId, by ListInstances
    address: list[Shown] = field(default_factory=list)  # AssociationId, by DescribeAddresses
    cluster: list[Shown] = field(default_factory=list)  # its state, by DescribeCluster
    instance: list[Shown] = field(default_factory=list)  # the primary's state, by DescribeInstances
    _emr: Any = None

    def listen_to(self, client: Any) -> None:
        """Listen to a client of EC2 or EMR."""
        events = client.meta.events
        if client.meta.service_model.service_name == "emr":
            self._emr = client
        events.register_last("before-send.ec2.AssociateAddress", self._sent)
        for service in ("ec2", "emr"):
            events.register(f"after-call.{service}", self._answered)

    def first(self, operation: str) -> Call | None:
        """Return the first accepted call of an operation."""
        return next((call for call in self.calls if call.operation == operation and call.error is None), None)

    def count(self, operation: str) -> int:
        """Return the number of accepted calls of an operation."""
        return sum(call.operation == operation and call.error is None for call in self.calls)

    def _sent(self, request: Any, **_: Any) -> None:
        body = request.body.decode() if isinstance(request.body, bytes) else str(request.body or "")
        self.reassociation.append(parse_qs(body).get("AllowReassociation", [None])[0])

    def _answered(self, parsed: Mapping[str, Any], model: Any, **_: Any) -> None:
        at, error = _answered_at(parsed), parsed.get("Error", {}).get("Code")
        if model.name in _CHANGES and error not in _DRY_RUN:
            self.calls.append(Call(at, model.name, error))
            if model.name == "RunJobFlow" and error is None:
                self.job_flow_id = str(parsed["JobFlowId"])
            self.say(f"{model.name}{f': {error}' if error else ''}")
        elif error is None and (record := getattr(self, f"_{model.name}", None)) is not None:
            record(at, parsed)
            if model.name != "ListInstances":
                self._list_instances()

    def _list_instances(self) -> None:
        """Call ListInstances until it shows the primary: the operators find that instance by EMR's tags instead."""
        if self._emr is None or self.job_flow_id is None or self.instance_id is not None:
            return
        with contextlib.suppress(ClientError, BotoCoreError):  # it is only measured
            self._emr.list_instances(ClusterId=self.job_flow_id)

    def _ListInstances(self, at: datetime, parsed: Mapping[str, Any]) -> None:  # noqa: N802 - the operation's name
        live = [item for item in parsed["Instances"] if item["Status"]["State"] != "TERMINATED"]
        instance_id = next((str(item["Ec2InstanceId"]) for item in live if item.get("Ec2InstanceId")), None)
        self.instance_id = self.instance_id or instance_id
        self._note(self.primary, Shown(at, instance_id), "EMR shows {}", named="primary instance")

    def _DescribeAddresses(self, at: datetime, parsed: Mapping[str, Any]) -> None:  # noqa: N802 - as above
        for item in parsed["Addresses"]:
            if item.get("AllocationId") == self.allocation_id:
                shown = Shown(at, item.get("AssociationId") or item.get("NetworkInterfaceId") or None)
                self._note(self.address, shown, "EC2 shows the address with {}", named="association")

    def _DescribeCluster(self, at: datetime, parsed: Mapping[str, Any]) -> None:  # noqa: N802 - as above
        if parsed["Cluster"]["Id"] == self.job_flow_id:
            state = str(parsed["Cluster"]["Status"]["State"])
            self._note(self.cluster, Shown(at, state), f"cluster {self.job_flow_id} is {{}}")

    def _DescribeInstances(self, at: datetime, parsed: Mapping[str, Any]) -> None:  # noqa: N802 - as above
        for item in (item for group in parsed["Reservations"] for item in group["Instances"]):
            if item["InstanceId"] == self.instance_id:
                self._note(self.instance, Shown(at, str(item["State"]["Name"])), f"instance {self.instance_id} is {{}}")

    def _note(self, series: list[Shown], shown: Shown, text: str, *, named: str = "") -> None:
        if (series[-1].value if series else None) != shown.value:
            self.say(text.format(f"{named} {shown.value}".strip() if shown.value else f"no {named}".strip()))
        series.append(shown)


def _answered_at(parsed: Mapping[str, Any]) -> datetime:
    date = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return parsedate_to_datetime(date) if date else clock.now()


def recorded_hooks(hooks: AwsHooks, recorder: Recorder) -> StoredHooks:
    """Return copies of the hooks whose clients the recorder listens to."""

    class _Recorded:
        def get_client_type(self, *args: Any, **kwargs: Any) -> Any:
            client = super().get_client_type(*args, **kwargs)  # type: ignore[misc]
            recorder.listen_to(client)
            return client

    class _Eip(_Recorded, StoredHooks.eip_class):  # type: ignore[valid-type,misc]
        pass

    class _Emr(_Recorded, StoredHooks.emr_class):  # type: ignore[valid-type,misc]
        pass

    class _Hooks(StoredHooks):
        eip_class, emr_class = _Eip, _Emr

    return _Hooks(**hooks.shared)
