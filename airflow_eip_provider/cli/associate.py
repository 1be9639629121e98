"""``airflow-eip associate``: put the address on a cluster that no task launched."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.cli.command import FAILED, OK, Command, Parser, add_common_arguments, span
from airflow_eip_provider.cli.output import note, only_the_result, print_json
from airflow_eip_provider.exceptions import AddressBusyError, InvalidInputError, NotKnownYetError, WaitTimeoutError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from airflow_eip_provider.aws.addresses import Address, Instance
    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.lease.record import Attempt, Lease, Record
    from airflow_eip_provider.lease_client.interface import LeaseClient
    from airflow_eip_provider.parameters_file import Parameters
    from airflow_eip_provider.triggers.observed import Observed
    from airflow_eip_provider.triggers.verdict import Verdict

BY_HAND = "by-hand"  # the owner's environment where none is named, as that of the bootstrap action

DESCRIPTION = """\
Put an Elastic IP on the primary node of a running EMR cluster that was launched by hand or by another scheduler. The
cluster is the one in the VPC clusterVPCID whose tag ClusterFunction is clusterFunctionTagValue, if the file has that
value; or the one that --job-flow-id names. With two that match, nothing is done.

The address is never taken from another: the command waits for it. With a lock store it queues there, behind and before
the tasks of Airflow, in the name ENVIRONMENT/cluster/ID. It ends when the address is on the cluster, which it then
keeps until "airflow-eip release", or until the cluster ends. When it fails or is stopped, what it did is undone. Given
again for the same cluster, it goes on for an earlier one, which ends."""

EXAMPLES = r"""
# the cluster that the file describes by its VPC and tag
airflow-eip associate --parameters parametersValues.json
# a cluster by its id, and up to two hours in the queue
airflow-eip associate --parameters parametersValues.json \
    --job-flow-id j-1ABCDEFGHIJKL --wait 2h --lock-store dynamodb://leases"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--parameters",
        required=True,
        metavar="FILE",
        help="the parametersValues.json: allocationID, clusterVPCID and, if there is one, clusterFunctionTagValue",
    )
    parser.add_argument("--job-flow-id", metavar="ID", help="the cluster, instead of its tag; the VPC is still checked")
    parser.add_argument(
        "--wait",
        type=span,
        default="30m",
        metavar="SPAN",
        help="how long to wait for the primary node of --job-flow-id and for the address, e.g. 2h or 0 (default: 30m)",
    )
    parser.add_argument(
        "--environment",
        metavar="NAME",
        help="the first part of the name in the lock store (default: the option environment of section eip of "
        "airflow.cfg, else by-hand)",
    )
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Find the cluster, wait, and associate."""
    with only_the_result():
        from airflow_eip_provider.cli.address import checked_environment, checked_job_flow_id
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.cli.waiting import deadline_after, stopped_by_signals
        from airflow_eip_provider.operators.owner import own_environment
        from airflow_eip_provider.parameters_file import read_parameters

        parameters = read_parameters(options.parameters)
        job_flow_id = checked_job_flow_id(options.job_flow_id)
        lock_store = lock_store_of(options)
        environment = checked_environment(options.environment) or own_environment() or BY_HAND
        session = open_session(options)
        note(session)
        work = _Association(session, parameters, lock_store, wait=options.wait, deadline=deadline_after(options.wait))
        with stopped_by_signals():
            facts = work.perform(job_flow_id or _tagged_cluster(session, parameters), environment)
    if options.json:
        print_json({"account": session.account, "region": session.region, **facts})
    else:
        print(
            f"Elastic IP {facts['allocation_id']} ({facts['public_ip']}) is on cluster {facts['job_flow_id']} "
            f"(instance {facts['instance_id']})"
        )
    return OK


def _tagged_cluster(session: Session, parameters: Parameters) -> str:
    """Find the one running cluster that the parameters describe."""
    from airflow_eip_provider.aws.addresses import read_running_primaries
    from airflow_eip_provider.aws.tags import CLUSTER_TAG, FUNCTION_TAG

    value = parameters.tag_value
    tags = {} if value is None else {FUNCTION_TAG: value}
    found = read_running_primaries(session.hooks.eip.conn, parameters.vpc_id, tags=tags)
    if len(found) == 1:
        return found[0].tags[CLUSTER_TAG]
    tagged = "" if value is None else f" with tag {FUNCTION_TAG}={value}"
    doing = f"looking for the cluster in VPC '{parameters.vpc_id}'{tagged}"
    if not found:
        raise InvalidInputError(
            doing,
            problem="no primary node of an EMR cluster runs there",
            remedy="launch it first, check clusterVPCID and clusterFunctionTagValue, or name it: --job-flow-id",
        )
    which = ", ".join(f"instance '{i.instance_id}' of cluster '{i.tags.get(CLUSTER_TAG)}'" for i in found)
    raise InvalidInputError(
        doing,
        problem=f"{len(found)} primary nodes match: {which}",
        remedy="name the cluster: --job-flow-id; a cluster with three primaries cannot carry an address",
    )


class _Association:
    """The way of one address to one cluster."""

    def __init__(
        self, session: Session, parameters: Parameters, lock_store: str | None, *, wait: timedelta, deadline: float
    ) -> None:
        from airflow_eip_provider.lease_client.waiting import Foreground
        from airflow_eip_provider.operators.binder import Binder

        self._hooks = session.hooks
        self._allocation_id = parameters.allocation_id
        self._vpc_id = parameters.vpc_id
        self._lock_store = lock_store
        self._wait = wait
        self._foreground = Foreground(deadline=deadline, say=note)
        self._binder = Binder(session.hooks.eip, parameters.allocation_id)

    def perform(self, job_flow_id: str, environment: str) -> dict[str, Any]:
        """Primary running → lease → address free → bound → handed over; return where the address is."""
        from airflow_eip_provider.lease.owners import cluster_owner
        from airflow_eip_provider.operators.binder import bound_facts

        self._preflight()
        instance = self._primary(job_flow_id)
        self._check_not_beside(instance)
        name = cluster_owner(environment, job_flow_id)
        lease_client = self._hooks.lease_client(self._lock_store, self._allocation_id, who=f"'{name}'")
        lease_client.check()
        record = lease_client.read().record
        address, lease = self._binder.address(), record.lease
        is_there = address.network_interface_id == instance.network_interface_id
        if not is_there or lease is None or _is_unsettled(lease, job_flow_id):
            address, token = self._bind_leased(lease_client, _attempt(record, name), instance)
        elif lease.resource_id == job_flow_id:
            token = lease.token
        else:
            token = None
            who = f"'{lease.attempt.name}' has its lease"
            note(f"warning: the address is on cluster {job_flow_id} already, but {who} in {self._lock_store}")
        return bound_facts(address, job_flow_id=job_flow_id, token=token)

    def _preflight(self) -> None:
        from airflow_eip_provider.operators.preflight import require
        from airflow_eip_provider.preflight import TARGET_CHECKS, Setup

        setup = Setup(allocation_id=self._allocation_id, eip=self._hooks.eip, emr=self._hooks.emr)
        for warning in require(setup, TARGET_CHECKS):
            note(f"warning: {warning}")

    def _primary(self, job_flow_id: str) -> Instance:
        """Wait until the primary instance can carry the address, and check where it is."""
        from airflow_eip_provider.triggers.emr import judge_primary_running

        seen = self._until(lambda observed: judge_primary_running(observed, job_flow_id))
        if seen.status == "pending":
            raise WaitTimeoutError(f"cluster '{job_flow_id}' to run", last_seen=seen.message, bound="--wait")
        instance = self._hooks.eip.get_instance(seen.data["instance_id"])
        if instance is None or instance.vpc_id != self._vpc_id:
            where = f"in VPC '{instance.vpc_id}'" if instance else "gone"
            raise InvalidInputError(
                f"associating Elastic IP '{self._allocation_id}' with cluster '{job_flow_id}'",
                problem=f"its primary instance '{seen.data['instance_id']}' is {where}, not in VPC '{self._vpc_id}'",
                remedy="correct clusterVPCID, or name the right cluster",
            )
        return instance

    def _bind_leased(
        self, lease_client: LeaseClient, attempt: Attempt, instance: Instance
    ) -> tuple[Address, int | None]:
        from airflow_eip_provider.aws.tags import CLUSTER_TAG
        from airflow_eip_provider.cli.waiting import deadline_after
        from airflow_eip_provider.lease_client.interface import Undo
        from airflow_eip_provider.lease_client.waiting import HANDOVER_PATIENCE_SECONDS, Foreground

        job_flow_id = instance.tags[CLUSTER_TAG]
        token: int | None = None
        try:
            token = self._acquire(lease_client, attempt, job_flow_id)
            address = self._bind(job_flow_id, instance)
            handing = Foreground(deadline=deadline_after(timedelta(seconds=HANDOVER_PATIENCE_SECONDS)), say=note)
            handing.persist(lambda: lease_client.hand_over(attempt, token=token, resource_id=job_flow_id))
        except BaseException as failed:
            # When it was refused, something else put there what the cluster carries by now.
            made = self._binder.may_have_bound and not isinstance(failed, InvalidInputError)
            undo = Undo(
                attempt,
                job_flow_id if made else None,
                token=token,
                association_id=self._binder.association_id,
                may_lag=made,
            )
            try:
                lease_client.undo(undo)
            except Exception as error:
                note(f"undoing it failed, too: {error}")
                note(f"what is left is cluster {job_flow_id}'s: the same command again goes on from there")
            raise
        return address, token

    def _acquire(self, lease_client: LeaseClient, attempt: Attempt, job_flow_id: str) -> int | None:
        """Queue until the lease is this owner's; return its fencing token, if there is one."""
        from airflow_eip_provider.lease.description import holder_of
        from airflow_eip_provider.lease.observation import LeaseRequest
        from airflow_eip_provider.lease.protocol import Acquired, Queued
        from airflow_eip_provider.lease.record import LIMITS

        lease_request = LeaseRequest(attempt, handover_seconds=LIMITS.surface, wants=job_flow_id)
        entered = self._foreground.acquire(lease_client, lease_request)
        if isinstance(entered, Queued):
            raise self._busy(holder_of(entered.observation))
        if not isinstance(entered, Acquired):
            raise self._busy(self._binder.place())
        if entered.token is not None:
            note(f"the lease is that of '{attempt.name}', token {entered.token}")
        return entered.token

    def _bind(self, job_flow_id: str, instance: Instance) -> Address:
        """Wait until nothing carries the address, and bind it."""
        from airflow_eip_provider.triggers.eip import judge_association

        def free(seen: Observed) -> Verdict:
            return judge_association(seen, self._allocation_id, job_flow_id=job_flow_id, expect="free", or_left=True)

        attempt = functools.partial(self._try_to_bind, job_flow_id, instance)
        bound = self._foreground.persist(attempt)
        while bound is None:
            if self._until(free).status == "pending":
                raise self._busy(self._binder.place())
            bound = self._foreground.persist(attempt)
            if bound is None and not self._foreground.rest():
                raise self._busy(self._binder.place())
        return bound

    def _try_to_bind(self, job_flow_id: str, instance: Instance) -> Address | None:
        """Bind the address if it is free; else see to it that it can become so."""
        from airflow_eip_provider.aws.nat_gateway_changes import remove_leftover_gateway

        interface = str(instance.network_interface_id)
        try:
            bound = self._binder.bind(network_interface_id=interface, instance_id=instance.instance_id)
        except NotKnownYetError:
            self._primary(job_flow_id)  # or else it is not known any more
            raise
        if bound is None:
            self._check_not_beside(instance)
            remove_leftover_gateway(self._hooks.eip.conn, self._hooks.emr.conn, allocation_id=self._allocation_id)
        return bound

    def _check_not_beside(self, instance: Instance) -> None:
        from airflow_eip_provider.aws.tags import CLUSTER_TAG

        self._binder.check_not_beside(
            network_interface_id=str(instance.network_interface_id),
            instance_id=instance.instance_id,
            job_flow_id=instance.tags[CLUSTER_TAG],
        )

    def _until(self, judge: Callable[[Observed], Verdict]) -> Verdict:
        from airflow_eip_provider.cli.waiting import wait_until

        return wait_until(judge, self._hooks.client_for, deadline=self._foreground.deadline)

    def _busy(self, place: str) -> AddressBusyError:
        """Return the error of a wait that has ended, for a place or a lease in words."""
        holder = place.removeprefix("on ").removeprefix("held by ")
        for free in ("not associated", "no owner"):
            holder = holder.replace(free, "nobody now", 1)
        return AddressBusyError(self._allocation_id, holder=holder, waited_seconds=self._wait.total_seconds())


def _is_unsettled(lease: Lease, job_flow_id: str) -> bool:
    """Whether an earlier command for this cluster did not hand over, or the address is about to leave it."""
    from airflow_eip_provider.lease.owners import is_cluster_owner
    from airflow_eip_provider.lease.record import Phase

    own = is_cluster_owner(lease.attempt.name, job_flow_id)
    return lease.phase is not Phase.ACTIVE and (own or lease.resource_id == job_flow_id)


def _attempt(record: Record, name: str) -> Attempt:
    """Return an attempt of the cluster that is newer than those that are known."""
    import secrets

    from airflow_eip_provider.lease.owners import attempt_for, newest_try

    return attempt_for(name, try_number=1 + newest_try(record, name), nonce=secrets.token_hex(8))


COMMAND = Command(
    "associate",
    "put the address on a cluster that was launched elsewhere",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "the address is on the cluster",
        FAILED: "an error, or no address in time",
    },
)
