"""``airflow-eip associate``: associate an address with a cluster that no task launched."""

from __future__ import annotations

import functools
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.tags import CLUSTER_TAG, FUNCTION_TAG
from airflow_eip_provider.cli.arguments import (
    StoreOnce,
    add_common_arguments,
    add_duration,
    allocation_id_of,
    checked_environment,
    checked_job_flow_id,
)
from airflow_eip_provider.cli.command import FAILED, OK, Command, Parser
from airflow_eip_provider.cli.output import note, only_the_result, print_json
from airflow_eip_provider.cli.signals import StoppedOnce
from airflow_eip_provider.exceptions import (
    AddressBusyError,
    InvalidInputError,
    NotKnownYetError,
    UsageError,
    WaitTimeoutError,
)
from airflow_eip_provider.lease.description import holder_of
from airflow_eip_provider.lease.owners import attempt_for, cluster_owner, is_cluster_owner, newest_try
from airflow_eip_provider.lease.record import LIMITS, Phase

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from airflow_eip_provider.aws.addresses import Address, Instance
    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.lease.record import Attempt, Lease
    from airflow_eip_provider.lease_client.interface import LeaseClient
    from airflow_eip_provider.parameters_file import Parameters
    from airflow_eip_provider.triggers.observed import Observed
    from airflow_eip_provider.triggers.verdict import Verdict

BY_HAND = "by-hand"  # the environment in the owner's name if none is given, as in the bootstrap action

DESCRIPTION = """\
Associate an Elastic IP with the primary node of a running EMR cluster that was launched by hand or by another
scheduler. The cluster is the one that --job-flow-id names, or the one in the VPC clusterVPCID whose tag ClusterFunction
is clusterFunctionTagValue; without that value in the file, the VPC alone decides. If several clusters match, nothing is
changed. Instead of the file, --allocation-id with --job-flow-id names the address and the cluster.

The address is never taken from another resource: the command waits while it is in use. With a lock store, the command
and the tasks of Airflow wait in one queue; the name of the owner is ENVIRONMENT/cluster/ID.

The command ends when the address is on the cluster. The cluster keeps the address until "airflow-eip release", or until
it terminates. If the command fails or is stopped, it undoes its changes. A second command for the same cluster
continues the first one, which then ends."""

EXAMPLES = r"""
# An address and a cluster by their IDs
airflow-eip associate --allocation-id eipalloc-0123456789abcdef0 \
    --job-flow-id j-1ABCDEFGHIJKL
# The cluster that the file describes by its VPC and tag
airflow-eip associate --parameters parametersValues.json
# A cluster by its ID, waiting up to two hours for the address
airflow-eip associate --parameters parametersValues.json \
    --job-flow-id j-1ABCDEFGHIJKL --wait 2h --lock-store dynamodb://leases"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--parameters",
        metavar="FILE",
        help="a parametersValues.json with allocationID, clusterVPCID and, optionally, clusterFunctionTagValue",
    )
    parser.add_argument(
        "--allocation-id",
        metavar="ID",
        action=StoreOnce,
        help="the allocation ID of the Elastic IP (eipalloc-...), instead of --parameters; needs --job-flow-id",
    )
    parser.add_argument(
        "--job-flow-id", metavar="ID", help="the cluster (default: the one with the tag); it must be in clusterVPCID"
    )
    add_duration(
        parser,
        "--wait",
        "how long to wait for the start of the cluster of --job-flow-id and for the address, e.g. 2h or 0",
        default="30m",
    )
    parser.add_argument(
        "--environment",
        metavar="NAME",
        help="the first part of the owner name in the lock store (default: the option environment in section eip of "
        "airflow.cfg, or by-hand)",
    )
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Find the cluster, wait for the address, and associate it."""
    with only_the_result():
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.cli.waiting import deadline_after
        from airflow_eip_provider.operators.owner import own_environment
        from airflow_eip_provider.parameters_file import read_parameters

        job_flow_id = checked_job_flow_id(options.job_flow_id)
        allocation_id = allocation_id_of(options)
        parameters = read_parameters(options.parameters) if options.parameters else None
        if allocation_id is None or not (parameters or job_flow_id):
            problem = "no Elastic IP is named" if allocation_id is None else "no cluster is named"
            raise UsageError("", problem=problem, remedy="give --allocation-id and --job-flow-id, or --parameters")
        lock_store = lock_store_of(options)
        environment = checked_environment(options.environment) or own_environment() or BY_HAND
        session = open_session(options)
        signals = StoppedOnce("undoing what was changed")
        association = _Association(
            session,
            allocation_id,
            parameters.vpc_id if parameters else None,
            lock_store,
            wait=options.wait,
            deadline=deadline_after(options.wait),
            signals=signals,
        )
        with signals:
            if parameters and not job_flow_id:
                job_flow_id = _tagged_cluster(session, parameters)
            facts = association.associate(str(job_flow_id), environment)
    if options.json:
        print_json({**session.facts, **facts})
    else:
        print(
            f"Elastic IP {facts['allocation_id']} ({facts['public_ip']}) is on cluster {facts['job_flow_id']} "
            f"(instance {facts['instance_id']})"
        )
    return OK


def _tagged_cluster(session: Session, parameters: Parameters) -> str:
    """Return the only running cluster that the parameters describe."""
    from airflow_eip_provider.aws.addresses import read_running_primaries

    value = parameters.tag_value
    tags = {} if value is None else {FUNCTION_TAG: value}
    primaries = read_running_primaries(session.hooks.eip.conn, parameters.vpc_id, tags=tags)
    if len(primaries) == 1:
        return primaries[0].tags[CLUSTER_TAG]
    with_tag = "" if value is None else f" with tag {FUNCTION_TAG}={value}"
    doing = f"looking for the cluster in VPC '{parameters.vpc_id}'{with_tag}"
    if not primaries:
        raise InvalidInputError(
            doing,
            problem="no primary node of an EMR cluster is running there",
            remedy="launch it first, check clusterVPCID and clusterFunctionTagValue, or name it: --job-flow-id",
        )
    matches = ", ".join(f"instance '{i.instance_id}' of cluster '{i.tags.get(CLUSTER_TAG)}'" for i in primaries)
    raise InvalidInputError(
        doing,
        problem=f"{len(primaries)} primary nodes match: {matches}",
        remedy="name the cluster: --job-flow-id; an address cannot be used with a cluster that has three primary nodes",
    )


class _Association:
    """
    Associates one address with one cluster.

    :param vpc_id: the VPC that the cluster must be in; ``None`` for any.
    :param signals: what stops the command; an undo is not stopped.
    """

    def __init__(
        self,
        session: Session,
        allocation_id: str,
        vpc_id: str | None,
        lock_store: str | None,
        *,
        wait: timedelta,
        deadline: float,
        signals: StoppedOnce,
    ) -> None:
        from airflow_eip_provider.lease_client.waiting import Foreground
        from airflow_eip_provider.operators.binder import Binder

        self._hooks = session.hooks
        self._allocation_id = allocation_id
        self._vpc_id = vpc_id
        self._lock_store = lock_store
        self._wait = wait
        self._signals = signals
        self._foreground = Foreground(deadline=deadline, say=note)
        self._binder = Binder(session.hooks.eip, allocation_id)

    def associate(self, job_flow_id: str, environment: str) -> dict[str, Any]:
        """Wait for the primary node, the lease and the address; associate, and hand over; return where it is."""
        from airflow_eip_provider.operators.binder import bound_facts

        self._preflight()
        instance = self._primary(job_flow_id)
        self._check_not_beside(instance)
        name = cluster_owner(environment, job_flow_id)
        lease_client = self._hooks.lease_client(self._lock_store, self._allocation_id, who=f"'{name}'")
        lease_client.check()
        record = lease_client.read().record
        address, lease = self._binder.address(), record.lease
        is_on_primary = address.network_interface_id == instance.network_interface_id
        if not is_on_primary or lease is None or _is_unsettled(lease, job_flow_id):
            try_number = 1 + newest_try(record, name)
            attempt = attempt_for(name, try_number=try_number, nonce=secrets.token_hex(8))
            address, token = self._bind_leased(lease_client, attempt, instance)
        elif lease.resource_id == job_flow_id:
            token = lease.token
        else:
            token = None
            note(
                f"warning: the address is already on cluster {job_flow_id}, but '{lease.attempt.name}' has its lease "
                f"in {self._lock_store}"
            )
        return bound_facts(address, job_flow_id=job_flow_id, token=token)

    def _preflight(self) -> None:
        from airflow_eip_provider.operators.preflight import require
        from airflow_eip_provider.preflight import TARGET_CHECKS, Setup

        setup = Setup(allocation_id=self._allocation_id, eip=self._hooks.eip, emr=self._hooks.emr)
        for warning in require(setup, TARGET_CHECKS):
            note(f"warning: {warning}")

    def _primary(self, job_flow_id: str) -> Instance:
        """Wait until the primary instance is running, and check its VPC."""
        from airflow_eip_provider.triggers.emr import judge_primary_running

        verdict = self._wait_until(lambda observed: judge_primary_running(observed, job_flow_id))
        if verdict.status == "pending":
            raise WaitTimeoutError(f"cluster '{job_flow_id}' to run", last_seen=verdict.message, bound="--wait")
        instance_id = verdict.data["instance_id"]
        instance = self._hooks.eip.get_instance(instance_id)
        if instance is None or self._vpc_id not in {None, instance.vpc_id}:
            where = f"in VPC '{instance.vpc_id}', not in '{self._vpc_id}'" if instance else "gone"
            raise InvalidInputError(
                f"associating Elastic IP '{self._allocation_id}' with cluster '{job_flow_id}'",
                problem=f"its primary instance '{instance_id}' is {where}",
                remedy="correct clusterVPCID, or name the right cluster",
            )
        return instance

    def _bind_leased(
        self, lease_client: LeaseClient, attempt: Attempt, instance: Instance
    ) -> tuple[Address, int | None]:
        """Acquire the lease, bind the address and hand over; undo what was done if that fails."""
        from airflow_eip_provider.cli.waiting import deadline_after
        from airflow_eip_provider.lease_client.interface import Undo
        from airflow_eip_provider.lease_client.waiting import HANDOVER_PATIENCE_SECONDS, Foreground

        job_flow_id = instance.tags[CLUSTER_TAG]
        token: int | None = None
        try:
            token = self._acquire(lease_client, attempt, job_flow_id)
            address = self._bind(job_flow_id, instance)
            handover = Foreground(deadline=deadline_after(timedelta(seconds=HANDOVER_PATIENCE_SECONDS)), say=note)
            handover.persist(lambda: lease_client.hand_over(attempt, token=token, resource_id=job_flow_id))
        except BaseException as failure:
            self._signals.is_shielded = True
            # After a refusal, an association of the address with this cluster is not from this command.
            may_have_bound = self._binder.may_have_bound and not isinstance(failure, InvalidInputError)
            undo = Undo(
                attempt,
                job_flow_id if may_have_bound else None,
                token=token,
                association_id=self._binder.association_id,
                may_lag=may_have_bound,
            )
            try:
                lease_client.undo(undo)
            except Exception as error:
                note(f"undoing the changes failed, too: {error}")
                note(f"what was not undone belongs to cluster {job_flow_id}: run the same command again to continue")
            raise
        return address, token

    def _acquire(self, lease_client: LeaseClient, attempt: Attempt, job_flow_id: str) -> int | None:
        """Queue until the lease is acquired; return its fencing token, or ``None`` without a lock store."""
        from airflow_eip_provider.lease.observation import LeaseRequest
        from airflow_eip_provider.lease.protocol import Acquired, Queued

        lease_request = LeaseRequest(attempt, handover_seconds=LIMITS.surface, wants=job_flow_id)
        entered = self._foreground.acquire(lease_client, lease_request)
        if isinstance(entered, Queued):
            raise self._busy(holder_of(entered.observation))
        if not isinstance(entered, Acquired):
            raise self._busy(self._binder.place())
        if entered.token is not None:
            note(f"acquired the lease as '{attempt.name}', token {entered.token}")
        return entered.token

    def _bind(self, job_flow_id: str, instance: Instance) -> Address:
        """Wait until the address is free, and bind it."""
        from airflow_eip_provider.triggers.eip import judge_association

        def judge_free(observed: Observed) -> Verdict:
            return judge_association(
                observed, self._allocation_id, job_flow_id=job_flow_id, expect="free", or_left=True
            )

        try_to_bind = functools.partial(self._try_to_bind, job_flow_id, instance)
        address = self._foreground.persist(try_to_bind)
        while address is None:
            if self._wait_until(judge_free).status == "pending":
                raise self._busy(self._binder.place())
            address = self._foreground.persist(try_to_bind)
            if address is None and not self._foreground.rest():
                raise self._busy(self._binder.place())
        return address

    def _try_to_bind(self, job_flow_id: str, instance: Instance) -> Address | None:
        """Bind the address if it is free; otherwise free it if a terminated cluster left it on its NAT gateway."""
        from airflow_eip_provider.aws.nat_gateway_changes import remove_leftover_gateway

        interface_id = str(instance.network_interface_id)
        try:
            address = self._binder.bind(network_interface_id=interface_id, instance_id=instance.instance_id)
        except NotKnownYetError:
            self._primary(job_flow_id)  # raises if the interface is unknown because the cluster has ended
            raise
        if address is None:
            self._check_not_beside(instance)
            remove_leftover_gateway(self._hooks.eip.conn, self._hooks.emr.conn, allocation_id=self._allocation_id)
        return address

    def _check_not_beside(self, instance: Instance) -> None:
        self._binder.check_not_beside(
            network_interface_id=str(instance.network_interface_id),
            instance_id=instance.instance_id,
            job_flow_id=instance.tags[CLUSTER_TAG],
        )

    def _wait_until(self, judge: Callable[[Observed], Verdict]) -> Verdict:
        from airflow_eip_provider.cli.waiting import wait_until

        return wait_until(judge, self._hooks.client_for, deadline=self._foreground.deadline)

    def _busy(self, place: str) -> AddressBusyError:
        """Return the error for a wait that timed out, from the description of an address or a lease."""
        holder = place.removeprefix("on ").removeprefix("held by ")
        for free in ("not associated", "no owner"):
            holder = holder.replace(free, "nobody now", 1)
        return AddressBusyError(self._allocation_id, holder=holder, waited_seconds=self._wait.total_seconds())


def _is_unsettled(lease: Lease, job_flow_id: str) -> bool:
    """Return whether an earlier command for this cluster did not hand over, or the lease is being released."""
    is_own = is_cluster_owner(lease.attempt.name, job_flow_id)
    return lease.phase is not Phase.ACTIVE and (is_own or lease.resource_id == job_flow_id)


COMMAND = Command(
    "associate",
    "associate an address with a cluster launched elsewhere",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "the address is on the cluster",
        FAILED: "an error, or the address was not free in time",
    },
)
