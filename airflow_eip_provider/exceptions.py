"""
Every error that this package raises.

::

    ElasticIpError
    ├── PermanentError                  no retry helps: the task fails at once
    │   ├── InvalidInputError           a parameter is wrong; nothing was changed in AWS
    │   │   └── UsageError              an argument of an airflow-eip command is wrong
    │   ├── AddressNotFoundError        the allocation ID names no address here
    │   ├── PreflightError              a check before the launch failed; nothing was changed in AWS
    │   ├── NotPermittedError           IAM refuses what the task needs
    │   ├── MissingConnectionError      the Airflow connection does not exist
    │   ├── MissingExtraError           an optional part of this package is not installed
    │   ├── AzureRefusedError           Azure refuses the request, and would refuse a retry
    │   ├── LivyRefusedError            a Livy server refuses the request, and would refuse a retry
    │   ├── FirewallRuleConflictError   a firewall rule of that name admits other addresses
    │   ├── NotBoundError               a step was to run on a cluster without the address
    │   ├── AddressLostError            the address left the cluster while it was needed
    │   ├── NotLeasedError              a step was to run on a cluster whose lease was released or is releasing
    │   ├── StartTimeoutError           the cluster did not start in time, and was terminated
    │   └── LockStoreError              the lock store is missing, unusable or not permitted
    │       ├── NewerRecordError        a newer version of this package wrote the record
    │       └── CorruptRecordError      what is stored for the address is not a lease record
    └── TransientError                  Airflow's retries may help
        ├── AddressBusyError            another job or resource has the address
        ├── WaitTimeoutError            a bounded wait ended
        ├── ClusterEndedError           the cluster is in a terminal state, or unknown
        ├── NoCandidateStartedError     no cluster of the fallbacks started either
        ├── NotKnownYetError            AWS does not know an ID yet that it has just returned
        ├── CredentialsExpiredError     the session token has expired, and a new client has no newer one
        ├── KilledError                 the task was killed; nothing further is changed
        ├── LockStoreUnavailableError   the lock store does not answer
        │   └── RecordContendedError    other tasks changed the record before each write, for minutes
        ├── QueueFullError              the record of the address has no room for another queue entry
        ├── LeaseLostError              another owner took over the lease while this task was delayed
        ├── SupersededError             a newer try of the same task is at work
        ├── AzureUnavailableError       Azure does not answer, or throttles
        ├── LivyUnavailableError        a Livy server does not answer
        ├── BatchLostError              no Livy server has the batch any more
        ├── BatchFailedError            Livy ended a batch other than success
        ├── GatewayFailedError          EC2 could not create the NAT gateway
        ├── LaunchUnclearError          it is unknown whether RunJobFlow launched a cluster
        ├── SubmissionCancelledError    the address left the cluster while steps were being submitted
        ├── StepFailedError             EMR ended a step other than COMPLETED
        └── ReapingFailedError          some orphaned clusters could not be terminated

Imports the standard library only. Airflow pickles exceptions between processes, which rebuilds them from ``args``;
each constructor here builds its own message, hence ``__reduce__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "AddressBusyError",
    "AddressLostError",
    "AddressNotFoundError",
    "AzureRefusedError",
    "AzureUnavailableError",
    "BatchFailedError",
    "BatchLostError",
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
    "LivyRefusedError",
    "LivyUnavailableError",
    "LockStoreError",
    "LockStoreUnavailableError",
    "MissingConnectionError",
    "MissingExtraError",
    "NewerRecordError",
    "NoCandidateStartedError",
    "NotBoundError",
    "NotKnownYetError",
    "NotLeasedError",
    "NotPermittedError",
    "PermanentError",
    "PreflightError",
    "QueueFullError",
    "ReapingFailedError",
    "RecordContendedError",
    "StartTimeoutError",
    "StepFailedError",
    "SubmissionCancelledError",
    "SupersededError",
    "TransientError",
    "UsageError",
    "WaitTimeoutError",
]


# Livy's SessionState: how a batch ends, but for "success".
_BATCH_ENDS = {
    "dead": ("the driver or spark-submit exited with an error", "see the log above, and the driver's log in YARN"),
    "killed": (
        "someone killed its application in YARN, or deleted the batch",
        "find out who did (YARN's log of the application names the user), then let it run again",
    ),
    "error": (
        "Livy itself failed to run it, or lost its application",
        "see the log above and Livy's own log on the primary node, /var/log/livy",
    ),
}


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
    """An argument of an ``airflow-eip`` command is wrong; the command ends with exit status 2."""


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
    A check before the launch failed; nothing was changed in AWS.

    :param errors: each finding, as a sentence that says what is wrong and how to fix it.
    """

    def __init__(self, allocation_id: str, errors: list[str]) -> None:
        if len(errors) == 1:
            problem = errors[0]
        else:
            problem = f"{len(errors)} things are wrong: " + " ".join(f"({k}) {e}." for k, e in enumerate(errors, 1))
        super().__init__(
            f"checking what Elastic IP '{allocation_id}' and its cluster need",
            problem=problem,
            remedy="fix that; 'airflow-eip doctor' makes the same checks without a launch",
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
    """The Airflow connection does not exist; default credentials are not used in its place."""

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
    """Azure refuses the request, and would refuse a retry; the error has Azure's code and text."""

    def __init__(self, doing: str, *, code: str, problem: str, remedy: str) -> None:
        super().__init__(doing, problem=f"Azure answers {code}: {problem}", remedy=remedy)
        self.code = code


class LivyRefusedError(PermanentError):
    """
    A Livy server refuses the request, and would refuse a retry; the error has its status and text.

    :ivar status: of the HTTP response.
    """

    def __init__(self, doing: str, *, status: int, problem: str, remedy: str) -> None:
        super().__init__(doing, problem=f"Livy answers {status}: {problem}", remedy=remedy)
        self.status = status


class FirewallRuleConflictError(PermanentError):
    """A firewall rule of that name admits other addresses; it is not changed."""

    def __init__(self, name: str, *, server: str, admits: str, public_ip: str) -> None:
        super().__init__(
            f"using firewall rule '{name}' of Azure SQL server '{server}' for {public_ip}",
            problem=f"it admits {admits}; it was not changed",
            remedy="choose another rule_name, or remove that rule if it is no longer needed",
        )
        self.name = name


class NotBoundError(PermanentError):
    """Steps, or a batch, were to be submitted to a cluster that does not carry the address."""

    def __init__(self, allocation_id: str, *, job_flow_id: str, place: str, work: str = "steps") -> None:
        super().__init__(
            f"submitting {work} to cluster '{job_flow_id}'",
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
    """Steps, or a batch, were to run on a cluster whose lease has been released, or is being released."""

    def __init__(
        self,
        allocation_id: str,
        *,
        job_flow_id: str,
        condition: str,
        consequence: str | None = None,
        work: str = "steps",
    ) -> None:
        done = "" if consequence is None else f"; {consequence}"
        every = "every step" if work == "steps" else "everything"
        super().__init__(
            f"submitting {work} to cluster '{job_flow_id}'",
            problem=f"the lock store says that Elastic IP '{allocation_id}' is {condition}{done}",
            remedy=f"submit {every} that needs the address before it is released, or create a cluster for them",
        )
        self.allocation_id = allocation_id
        self.job_flow_id = job_flow_id


class StartTimeoutError(PermanentError):
    """The cluster did not come to RUNNING or WAITING within its start timeout, and was terminated."""

    def __init__(self, job_flow_id: str, *, state: str, reason: str, seconds: float) -> None:
        super().__init__(
            f"waiting for cluster '{job_flow_id}' to start",
            problem=f"{seconds:.0f} s after RunJobFlow it was {state}: {reason}; it is terminated, its address freed",
            remedy="clear the DAG run from the creating task; with fallbacks that task tries another zone or instance "
            "type, and raise start_timeout if that is a normal duration",
        )
        self.job_flow_id = job_flow_id


class LockStoreError(PermanentError):
    """The lock store is missing, unusable or not permitted; nothing was changed."""

    def __init__(self, uri: str, *, problem: str, remedy: str) -> None:
        super().__init__(f"opening lock store '{uri}'", problem=problem, remedy=remedy)
        self.uri = uri


class NewerRecordError(LockStoreError):
    """A newer version of this package wrote the record; this version must not change it."""

    def __init__(self, uri: str, *, schema: int, known: int) -> None:
        super().__init__(
            uri,
            problem=f"a newer version wrote the record: it has schema {schema}, this version reads up to {known}",
            remedy="upgrade airflow-eip-provider in this environment to the version of the other environments",
        )


class CorruptRecordError(LockStoreError):
    """What is stored for the address is not a lease record."""

    def __init__(self, uri: str, *, problem: str) -> None:
        super().__init__(
            uri,
            problem=f"what is stored there is not a lease record: {problem}",
            remedy="make sure that no job uses the address, then delete the record; fencing tokens start again at 1",
        )


class LockStoreUnavailableError(TransientError):
    """The lock store does not answer."""

    def __init__(self, uri: str, *, problem: str) -> None:
        super().__init__(
            f"using lock store '{uri}'",
            problem=f"it does not answer: {problem}",
            remedy="a retry continues where this try stopped; running steps are not affected",
        )
        self.uri = uri


class RecordContendedError(LockStoreUnavailableError):
    """Other tasks changed the record before each write of this one, for minutes."""

    def __init__(self, uri: str, *, writes: int, seconds: float) -> None:
        TransientError.__init__(
            self,
            f"writing to lock store '{uri}'",
            problem=f"other tasks changed the record before each of {writes} writes in {seconds:.0f} s",
            remedy="a retry continues where this try stopped; if it fails, too, let fewer tasks start at the same time",
        )
        self.uri = uri


class QueueFullError(TransientError):
    """The record of the address has no room for another queue entry; nothing was changed."""

    def __init__(self, uri: str, *, waiting: int, size: int, most: int) -> None:
        super().__init__(
            f"queueing in lock store '{uri}'",
            problem=f"{waiting:,} owners are in the queue of this address; one more would make its record {size:,} "
            f"bytes long, and the limit is {most:,}",
            remedy="a retry succeeds when the queue is shorter; start fewer runs at a time (max_active_runs), or use"
            " more than one address",
        )


class NotKnownYetError(TransientError):
    """AWS does not know an ID yet that it has just returned: its reads are eventually consistent."""

    def __init__(self, resource_id: str) -> None:
        super().__init__(
            f"using '{resource_id}'",
            problem="AWS does not know this ID, or not yet",
            remedy="a new ID is known after some seconds, so a retry helps; if it does not, check that it still exists",
        )
        self.resource_id = resource_id


class LeaseLostError(TransientError):
    """Another owner took over the lease while this task was delayed; what this task did is undone."""

    def __init__(self, allocation_id: str, *, who: str = "this task", problem: str) -> None:
        super().__init__(
            f"using the lease of Elastic IP '{allocation_id}'",
            problem=f"the lease is no longer {who}'s: {problem}",
            remedy=f"a retry joins the queue again; find out what delayed {who}",
        )
        self.allocation_id = allocation_id


class SupersededError(TransientError):
    """A newer try of the same task is running; this one changes nothing more."""

    def __init__(self, allocation_id: str, *, problem: str) -> None:
        super().__init__(
            f"working with Elastic IP '{allocation_id}'",
            problem=problem,
            remedy="nothing to do, the newer try continues; if there is none, another environment has the same [eip] "
            "environment name",
        )
        self.allocation_id = allocation_id


class AddressBusyError(TransientError):
    """Another job or resource has the address, and did not free it in time."""

    def __init__(self, allocation_id: str, *, holder: str, waited_seconds: float | None = None) -> None:
        waited = "" if waited_seconds is None else f"waited {waited_seconds:.0f} s; "
        super().__init__(
            f"associating Elastic IP '{allocation_id}'",
            problem=f"{waited}it is held by {holder}",
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
            problem=f"it took too long; last seen: {last_seen}",
            remedy=f"raise {bound} if that is a normal duration",
        )


class ClusterEndedError(TransientError):
    """The cluster is terminating or has ended, or EMR does not know it."""

    def __init__(self, job_flow_id: str, *, state: str, reason: str) -> None:
        super().__init__(
            f"using cluster '{job_flow_id}'",
            problem=f"it is {state}: {reason}",
            remedy="check the id and the region"
            if state == "unknown"
            else "fix the cause that EMR names; a new try of the creating task starts a new cluster",
        )
        self.job_flow_id = job_flow_id
        self.state = state


class NoCandidateStartedError(TransientError):
    """
    Neither the first choice of the cluster nor one of its fallbacks started; each that was launched is terminated.

    :param attempts: what the XCom ``attempts`` says.
    """

    def __init__(self, allocation_id: str, *, attempts: Sequence[Mapping[str, Any]]) -> None:
        said = "; ".join(
            f"candidate {one['candidate']} ({one['subnet']}, {one['instance_type']}), cluster {one['job_flow_id']}: "
            f"{one['outcome']}: {one['reason']}"
            for one in attempts
        )
        super().__init__(
            f"starting a cluster for Elastic IP '{allocation_id}'",
            problem=f"no candidate started: {said}",
            remedy="a retry begins with the first choice again; give fallbacks in other zones or of other instance "
            "types, or raise fallback_rounds",
        )
        self.allocation_id = allocation_id


class CredentialsExpiredError(TransientError):
    """The session token has expired; the connection was read again, and had no newer one."""

    def __init__(self, conn_id: str | None, *, problem: str) -> None:
        source = f"Airflow connection '{conn_id}'" if conn_id else "boto3's default credentials"
        super().__init__(
            f"calling AWS with {source}",
            problem=f"the session token has expired, and reading the credentials again gave no newer one: {problem}",
            remedy="renew the token, or use a role that boto3 renews by itself",
        )
        self.conn_id = conn_id


class KilledError(TransientError):
    """The task was killed; ``on_kill`` cleans up, and the rest of the task must not change AWS again."""

    def __init__(self, allocation_id: str | None) -> None:
        super().__init__(
            f"working with Elastic IP '{allocation_id}'" if allocation_id else "running this task",
            problem="this task was killed, so it changes nothing more in AWS",
            remedy="on_kill cleans up what it did (see above); a retry starts again",
        )


class AzureUnavailableError(TransientError):
    """Azure does not answer, or throttles for longer than its client waits."""

    def __init__(self, doing: str, *, problem: str) -> None:
        super().__init__(doing, problem=problem, remedy="a retry continues where this try stopped")


class LivyUnavailableError(TransientError):
    """
    A Livy server gives no answer, or an error of its own.

    :ivar was_sent: the request may have reached it, and may have had its effect.
    """

    def __init__(self, doing: str, *, problem: str, was_sent: bool = True) -> None:
        super().__init__(doing, problem=problem, remedy="a retry looks for the batch by its name before it submits one")
        self.was_sent = was_sent


class BatchLostError(TransientError):
    """No Livy server has the batch any more: the server that ran it is gone, was restarted, or forgot the batch."""

    def __init__(self, name: str, *, batch_id: int, app_id: str | None, server: str, seconds: float) -> None:
        application = f"its YARN application is {app_id}" if app_id else "it had no YARN application yet"
        super().__init__(
            f"watching Livy batch '{name}' (id {batch_id}) on {server}",
            problem=f"moved: for {seconds:.0f} s no answer showed a batch of that name, so the server that ran it is "
            "gone, was restarted without recovery, or the batch was deleted; how it ended is unknown, and "
            f"{application}",
            remedy="a retry submits it again; if its cluster still runs, see first that the application has ended",
        )
        self.name = name


class BatchFailedError(TransientError):
    """
    Livy ended a batch other than success.

    :ivar state: ``dead``, ``killed`` or ``error``.
    """

    def __init__(self, name: str, *, batch_id: int, app_id: str | None, state: str) -> None:
        meaning, remedy = _BATCH_ENDS.get(state, ("Livy says no more", "see the log above"))
        super().__init__(
            f"running Livy batch '{name}' (id {batch_id}, application {app_id or 'none'})",
            problem=f"it ended {state}: {meaning}",
            remedy=remedy,
        )
        self.name = name
        self.state = state


class GatewayFailedError(TransientError):
    """EC2 could not create the NAT gateway for the address; the failed gateway is deleted."""

    def __init__(self, gateway_id: str, *, allocation_id: str, code: str, problem: str) -> None:
        super().__init__(
            f"creating NAT gateway '{gateway_id}' for Elastic IP '{allocation_id}'",
            problem=f"it failed: {code} {problem}".rstrip(),
            remedy="fix the cause that EC2 names; a retry creates another one",
        )
        self.gateway_id = gateway_id
        self.allocation_id = allocation_id


class LaunchUnclearError(TransientError):
    """It is unknown whether RunJobFlow launched a cluster: its answer was lost, and EMR shows none."""

    def __init__(self, name: str, *, owner: str, problem: str) -> None:
        super().__init__(
            f"launching cluster '{name}' for '{owner}'",
            problem=f"RunJobFlow gave no clear answer ({problem}), and EMR shows no cluster with this launch's tags",
            remedy="a retry looks for it again before it launches another",
        )


class SubmissionCancelledError(TransientError):
    """The address left the cluster while steps, or a batch, were being submitted; they were cancelled."""

    def __init__(
        self, allocation_id: str, *, job_flow_id: str, place: str, step_ids: Sequence[str], work: str = "steps"
    ) -> None:
        super().__init__(
            f"submitting {work} to cluster '{job_flow_id}'",
            problem=f"Elastic IP '{allocation_id}' was on it before and is now {place}; cancelled the {work} that "
            f"were submitted meanwhile: {', '.join(step_ids)}",
            remedy="find out who released or moved it (CloudTrail: DisassociateAddress, AssociateAddress); a retry "
            f"submits the {work} again if the address is on the cluster",
        )
        self.allocation_id = allocation_id
        self.job_flow_id = job_flow_id


class StepFailedError(TransientError):
    """EMR ended a step in a state other than COMPLETED."""

    def __init__(self, job_flow_id: str, *, step_id: str, name: str, state: str, reason: str) -> None:
        super().__init__(
            f"running step '{step_id}' ({name}) on cluster '{job_flow_id}'",
            problem=f"it ended {state}: {reason}",
            remedy="see its stdout and stderr above (they need a LogUri of the cluster)",
        )
        self.step_id = step_id


class ReapingFailedError(TransientError):
    """Some orphaned clusters or their NAT gateways could not be removed; the others were."""

    def __init__(self, failed: list[str]) -> None:
        super().__init__(
            f"reaping orphaned clusters, {len(failed)} failed",
            problem="; ".join(failed),
            remedy="fix the cause and run the reaper again; the others are done",
        )
