"""
Every error that this package raises.

::

    ElasticIpError
    ├── PermanentError                  no retry helps: the task fails at once
    │   ├── InvalidInputError           a parameter is wrong; nothing was changed in AWS
    │   │   └── UsageError              what a command of the command line was given is wrong
    │   ├── AddressNotFoundError        the allocation ID names no address here
    │   ├── PreflightError              what a launch depends on is not as it must be; nothing was changed in AWS
    │   ├── NotPermittedError           IAM refuses what the task needs
    │   ├── MissingConnectionError      the Airflow connection does not exist
    │   ├── MissingExtraError           an optional part of this package is not installed
    │   ├── AzureRefusedError           Azure refuses the request, and will again
    │   ├── FirewallRuleConflictError   a firewall rule of that name admits something else
    │   ├── NotBoundError               a step was to run on a cluster without the address
    │   ├── AddressLostError            the address left the cluster while it was needed
    │   ├── NotLeasedError              a step was to run on a cluster whose lease was released or is releasing
    │   └── LockStoreError              the lock store is missing, is something else, or may not be used
    │       ├── NewerRecordError        a newer version of this package wrote the record
    │       └── CorruptRecordError      what is stored there is no record
    └── TransientError                  Airflow's retries may help
        ├── AddressBusyError            somebody else has the address (not getting it, as opposed to losing it)
        ├── WaitTimeoutError            a bounded wait ended
        ├── ClusterEndedError           the cluster is in a terminal state, or unknown
        ├── NotKnownYetError            AWS does not know what it has just made
        ├── CredentialsExpiredError     the session token has expired, and a new client has no newer one
        ├── KilledError                 the task was killed; nothing further is changed
        ├── LockStoreUnavailableError   the lock store gives no answer
        │   └── RecordContendedError    others changed the record before each write, for minutes
        ├── QueueFullError              the record of the address has no room for another queue entry
        ├── LeaseLostError              the lease went to another owner while this one was not looking
        ├── SupersededError             a newer try of the same task is at work
        ├── AzureUnavailableError       Azure gives no answer, or throttles
        ├── GatewayFailedError          EC2 could not make the NAT gateway
        ├── LaunchUnclearError          RunJobFlow got no answer and no cluster of this launch can be found
        ├── SubmissionCancelledError    the address left the cluster while steps were being submitted
        ├── StepFailedError             EMR ended a step other than COMPLETED
        └── ReapingFailedError          some of the clusters that were to be reaped could not be

Imports the standard library only. Airflow pickles exceptions between processes, which rebuilds them from ``args``;
each constructor here builds its own message, hence ``__reduce__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AddressBusyError",
    "AddressLostError",
    "AddressNotFoundError",
    "AzureRefusedError",
    "AzureUnavailableError",
    "ClusterEndedError",
    "CorruptRecordError",
    "CredentialsExpiredError",
    "ElasticIpError",
    "FirewallRuleConflictError",
    "GatewayFailedError",
    "InvalidInputError",
    "KilledError",
    "LaunchUnclearError",
    "LeaseLostError",
    "LockStoreError",
    "LockStoreUnavailableError",
    "MissingConnectionError",
    "MissingExtraError",
    "NewerRecordError",
    "NotBoundError",
    "NotKnownYetError",
    "NotLeasedError",
    "NotPermittedError",
    "PermanentError",
    "PreflightError",
    "QueueFullError",
    "ReapingFailedError",
    "RecordContendedError",
    "StepFailedError",
    "SubmissionCancelledError",
    "SupersededError",
    "TransientError",
    "UsageError",
    "WaitTimeoutError",
]


def _restore(cls: type[ElasticIpError], message: str) -> ElasticIpError:
    error = cls.__new__(cls)
    error.args = (message,)
    return error


class ElasticIpError(Exception):
    """Base of every error of this package: ``<doing> <thing> 'id': <what happened>; <what to do>``."""

    def __init__(self, doing: str, *, problem: str, remedy: str) -> None:
        super().__init__(f"{doing}: {problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), str(self)), self.__dict__


class PermanentError(ElasticIpError):
    """No retry helps; an operator fails its task at once."""


class TransientError(ElasticIpError):
    """A later try may succeed; Airflow's own retries apply."""


class InvalidInputError(PermanentError):
    """A parameter is wrong; nothing was changed in AWS."""


class UsageError(InvalidInputError):
    """What a command of the command line was given is wrong; it ends with exit status 2."""


class AddressNotFoundError(PermanentError):
    """The allocation ID names no Elastic IP of this account and region."""

    def __init__(self, allocation_id: str, *, region: str) -> None:
        super().__init__(
            f"looking up Elastic IP '{allocation_id}'",
            problem=f"no such address in region '{region}': it was released, or belongs to another region or account",
            remedy="check the allocation ID and the region, or allocate and register a new address",
        )
        self.allocation_id = allocation_id


class PreflightError(PermanentError):
    """
    What a launch depends on is not as it must be; nothing was changed in AWS.

    :param errors: each finding, as a sentence that says what is wrong and how to mend it.
    """

    def __init__(self, allocation_id: str, errors: list[str]) -> None:
        if len(errors) == 1:
            problem = errors[0]
        else:
            problem = f"{len(errors)} things are wrong: " + " ".join(f"({k}) {e}." for k, e in enumerate(errors, 1))
        super().__init__(
            f"checking what Elastic IP '{allocation_id}' and its cluster need",
            problem=problem,
            remedy="'airflow-eip doctor' checks it all again, and more",
        )
        self.allocation_id = allocation_id


class NotPermittedError(PermanentError):
    """IAM refuses an action that the task needs."""

    def __init__(self, action: str, *, resource: str) -> None:
        super().__init__(
            f"checking permission '{action}' on '{resource}'",
            problem="the credentials of this task may not do that",
            remedy=f"allow {action} in the policy of the role behind aws_conn_id",
        )
        self.action = action
        self.resource = resource


class MissingConnectionError(PermanentError):
    """The Airflow connection does not exist; there is no silent fall back to default credentials."""

    def __init__(
        self, conn_id: str, *, otherwise: str = ", or set aws_conn_id=None to use boto3's default credentials"
    ) -> None:
        super().__init__(
            f"reading Airflow connection '{conn_id}'", problem="it does not exist", remedy=f"create it{otherwise}"
        )
        self.conn_id = conn_id


class MissingExtraError(PermanentError):
    """An optional part of this package is not installed."""

    def __init__(self, extra: str, *, doing: str, module: str | None) -> None:
        super().__init__(
            doing,
            problem=f"Python module '{module}' is not installed",
            remedy=f"pip install 'airflow-eip-provider[{extra}]', wherever tasks and triggers run",
        )


class AzureRefusedError(PermanentError):
    """Azure refuses the request, and will again: its own code and words."""

    def __init__(self, doing: str, *, code: str, problem: str, remedy: str) -> None:
        super().__init__(doing, problem=f"Azure answers {code}: {problem}", remedy=remedy)
        self.code = code


class FirewallRuleConflictError(PermanentError):
    """A firewall rule of that name admits something else; it is not changed."""

    def __init__(self, name: str, *, server: str, admits: str, public_ip: str) -> None:
        super().__init__(
            f"using firewall rule '{name}' of Azure SQL server '{server}' for {public_ip}",
            problem=f"it admits {admits}, and is left as it is",
            remedy="choose another rule_name, or remove that rule by hand if nobody needs it",
        )
        self.name = name


class NotBoundError(PermanentError):
    """A step was to be submitted to a cluster that does not carry the address."""

    def __init__(self, allocation_id: str, *, job_flow_id: str, place: str) -> None:
        super().__init__(
            f"submitting steps to cluster '{job_flow_id}'",
            problem=f"Elastic IP '{allocation_id}' is {place}",
            remedy="create the cluster with EmrCreateWithStaticIpOperator, or bind it with EipAssociateOperator first",
        )
        self.allocation_id = allocation_id
        self.job_flow_id = job_flow_id


class AddressLostError(PermanentError):
    """The address left the cluster while a step needed it."""

    def __init__(self, allocation_id: str, *, job_flow_id: str, place: str, consequence: str) -> None:
        super().__init__(
            f"watching Elastic IP '{allocation_id}' on cluster '{job_flow_id}'",
            problem=f"it left the cluster and is now {place}; {consequence}",
            remedy="find out who moved it (CloudTrail: AssociateAddress, DisassociateAddress) and rerun the DAG run",
        )
        self.allocation_id = allocation_id
        self.job_flow_id = job_flow_id


class NotLeasedError(PermanentError):
    """A step was to run on a cluster whose lease has been released, or is being released."""

    def __init__(self, allocation_id: str, *, job_flow_id: str, condition: str, consequence: str | None = None) -> None:
        done = "" if consequence is None else f"; {consequence}"
        super().__init__(
            f"submitting steps to cluster '{job_flow_id}'",
            problem=f"the lock store says that Elastic IP '{allocation_id}' is {condition}{done}",
            remedy="submit every step that needs the address before it is released, or create a cluster for them",
        )
        self.allocation_id = allocation_id
        self.job_flow_id = job_flow_id


class LockStoreError(PermanentError):
    """The lock store is missing, is something else, or may not be used; nothing was changed."""

    def __init__(self, uri: str, *, problem: str, remedy: str) -> None:
        super().__init__(f"opening lock store '{uri}'", problem=problem, remedy=remedy)
        self.uri = uri


class NewerRecordError(LockStoreError):
    """A newer version of this package wrote the record; this one must not touch it."""

    def __init__(self, uri: str, *, schema: int, known: int) -> None:
        super().__init__(
            uri,
            problem=f"the record has schema {schema}, this version knows up to {known}",
            remedy="upgrade airflow-eip-provider in this environment to the version of the others",
        )


class CorruptRecordError(LockStoreError):
    """What is stored there is no record of this lock."""

    def __init__(self, uri: str, *, problem: str) -> None:
        super().__init__(
            uri,
            problem=f"what is stored there is no record: {problem}",
            remedy="see that no job uses the address, then delete the record; tokens start anew",
        )


class LockStoreUnavailableError(TransientError):
    """The lock store gives no answer."""

    def __init__(self, uri: str, *, problem: str) -> None:
        super().__init__(
            f"using lock store '{uri}'",
            problem=f"it gives no answer: {problem}",
            remedy="a retry goes on where this try stopped; running steps are not concerned",
        )
        self.uri = uri


class RecordContendedError(LockStoreUnavailableError):
    """Others changed the record before each write of this task, for minutes."""

    def __init__(self, uri: str, *, writes: int, seconds: float) -> None:
        TransientError.__init__(
            self,
            f"writing to lock store '{uri}'",
            problem=f"others changed the record before each of {writes} writes in {seconds:.0f} s: it changes too fast",
            remedy="a retry goes on where this try stopped; if it stays so, let fewer tasks start at the same moment",
        )
        self.uri = uri


class QueueFullError(TransientError):
    """The record of the address has no room for another queue entry; nothing was changed."""

    def __init__(self, uri: str, *, waiting: int, size: int, most: int) -> None:
        super().__init__(
            f"queueing in lock store '{uri}'",
            problem=f"{waiting} owners wait for this address already, and with another one the record would have"
            f" {size:,} bytes, more than the {most:,} up to which the queue may grow",
            remedy="a retry finds room when some of them have had their turn; start fewer runs at a time"
            " (max_active_runs), or share them among more addresses",
        )


class NotKnownYetError(TransientError):
    """AWS does not know what it has just made: its reads are eventually consistent."""

    def __init__(self, resource_id: str) -> None:
        super().__init__(
            f"using '{resource_id}'",
            problem="AWS does not know it",
            remedy="a new id is known seconds later; if it is gone, something else takes its place",
        )
        self.resource_id = resource_id


class LeaseLostError(TransientError):
    """The lease went to another owner while this one was not looking; everything that this one did is undone."""

    def __init__(self, allocation_id: str, *, who: str = "this task", problem: str) -> None:
        super().__init__(
            f"handing over Elastic IP '{allocation_id}'",
            problem=f"the lease is no longer {who}'s: {problem}",
            remedy=f"a retry queues again; find out what held {who} up for so long",
        )
        self.allocation_id = allocation_id


class SupersededError(TransientError):
    """A newer try of the same task is at work; this one touches nothing any more."""

    def __init__(self, allocation_id: str, *, problem: str) -> None:
        super().__init__(
            f"working with Elastic IP '{allocation_id}'",
            problem=problem,
            remedy="nothing to do, the newer try goes on; if there is none, another environment has the same [eip] "
            "environment name",
        )
        self.allocation_id = allocation_id


class AddressBusyError(TransientError):
    """Somebody else has the address: not getting it, as opposed to losing it."""

    def __init__(self, allocation_id: str, *, holder: str, waited_seconds: float | None = None) -> None:
        waited = "" if waited_seconds is None else f" after {waited_seconds:.0f} s of waiting"
        super().__init__(
            f"associating Elastic IP '{allocation_id}'",
            problem=f"held by {holder}{waited}",
            remedy="wait for that job, raise lock_timeout or --wait, or free the address with EipReleaseOperator or "
            "airflow-eip release",
        )
        self.allocation_id = allocation_id
        self.holder = holder


class WaitTimeoutError(TransientError):
    """A bounded wait ended before what it waited for."""

    def __init__(self, waiting_for: str, *, last_seen: str, bound: str) -> None:
        super().__init__(
            f"waiting for {waiting_for}",
            problem=f"not seen in time, last: {last_seen}",
            remedy=f"raise {bound} if this is a normal duration",
        )


class ClusterEndedError(TransientError):
    """The cluster is in a terminal state, or EMR does not know it."""

    def __init__(self, job_flow_id: str, *, state: str, reason: str) -> None:
        super().__init__(
            f"using cluster '{job_flow_id}'",
            problem=f"it is {state}: {reason}",
            remedy="check the id and the region"
            if state == "unknown"
            else "mend the cause that EMR names; a retry starts a new cluster",
        )
        self.job_flow_id = job_flow_id
        self.state = state


class CredentialsExpiredError(TransientError):
    """The session token has expired; the connection was read anew, and had no newer one."""

    def __init__(self, conn_id: str | None, *, problem: str) -> None:
        source = f"Airflow connection '{conn_id}'" if conn_id else "boto3's default credentials"
        super().__init__(
            f"calling AWS with {source}",
            problem=f"the session token has expired, and reading the credentials again gave no newer one: {problem}",
            remedy="renew the token, or use a role that boto3 renews by itself",
        )
        self.conn_id = conn_id


class KilledError(TransientError):
    """The task was killed: ``on_kill`` has cleaned up, and what goes on running must not change AWS again."""

    def __init__(self, allocation_id: str) -> None:
        super().__init__(
            f"working with Elastic IP '{allocation_id}'",
            problem="this task was killed, and has cleaned up",
            remedy="nothing further is changed in AWS; a retry starts again",
        )


class AzureUnavailableError(TransientError):
    """Azure gives no answer, or throttles for longer than its own client waits."""

    def __init__(self, doing: str, *, problem: str) -> None:
        super().__init__(doing, problem=problem, remedy="a retry goes on where this try stopped")


class GatewayFailedError(TransientError):
    """EC2 could not make the NAT gateway that was to carry the address; it is deleted again."""

    def __init__(self, gateway_id: str, *, allocation_id: str, code: str, problem: str) -> None:
        super().__init__(
            f"making NAT gateway '{gateway_id}' for Elastic IP '{allocation_id}'",
            problem=f"it failed: {code} {problem}".rstrip(),
            remedy="mend the cause that EC2 names; a retry makes another one",
        )
        self.gateway_id = gateway_id
        self.allocation_id = allocation_id


class LaunchUnclearError(TransientError):
    """RunJobFlow got no clear answer, and no cluster of this launch can be found."""

    def __init__(self, name: str, *, owner: str, problem: str) -> None:
        super().__init__(
            f"launching cluster '{name}' for '{owner}'",
            problem=f"RunJobFlow gave no clear answer ({problem}) and no cluster with this launch's tags is visible",
            remedy="a retry looks for it again before it launches another",
        )


class SubmissionCancelledError(TransientError):
    """Right after steps were submitted, the address was not on their cluster any more; they were cancelled."""

    def __init__(self, allocation_id: str, *, job_flow_id: str, place: str, step_ids: Sequence[str]) -> None:
        super().__init__(
            f"submitting steps to cluster '{job_flow_id}'",
            problem=f"Elastic IP '{allocation_id}' was on it before and is now {place}; cancelled the steps that were "
            f"submitted meanwhile: {', '.join(step_ids)}",
            remedy="find out who released or moved it (CloudTrail: DisassociateAddress, AssociateAddress); a retry "
            "submits the steps again if the address is on the cluster",
        )
        self.allocation_id = allocation_id
        self.job_flow_id = job_flow_id


class StepFailedError(TransientError):
    """EMR ended a step in a state other than COMPLETED."""

    def __init__(self, job_flow_id: str, *, step_id: str, name: str, state: str, reason: str) -> None:
        super().__init__(
            f"running step '{step_id}' ({name}) on cluster '{job_flow_id}'",
            problem=f"it ended {state}: {reason}",
            remedy="see the tail of its stdout and stderr above",
        )
        self.step_id = step_id


class ReapingFailedError(TransientError):
    """Some of the clusters that were to be reaped could not be."""

    def __init__(self, failed: list[str]) -> None:
        super().__init__(
            f"reaping {len(failed)} clusters",
            problem="; ".join(failed),
            remedy="mend the cause and reap again; what was reaped already is left alone",
        )
