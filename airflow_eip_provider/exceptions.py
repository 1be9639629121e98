"""
Every error that this package raises.

::

    ElasticIpError
    ├── PermanentError                  no retry helps: the task fails at once
    │   ├── InvalidInputError           a parameter is wrong; nothing was changed in AWS
    │   │   └── UsageError              an argument of an airflow-eip command is wrong
    │   ├── AddressNotFoundError        the address does not exist in this account and region
    │   ├── PreflightError              a check before the launch failed; nothing was changed in AWS
    │   ├── NotPermittedError           IAM does not allow an action that the task needs
    │   ├── MissingConnectionError      the Airflow connection does not exist
    │   ├── MissingExtraError           an optional dependency of this package is not installed
    │   ├── AzureRefusedError           Azure refuses the request, and would refuse a retry
    │   ├── LivyRefusedError            a Livy server refuses the request, and would refuse a retry
    │   ├── FirewallRuleConflictError   a firewall rule with that name allows other addresses
    │   ├── NotBoundError               the address is not on the cluster to which a step was to be submitted
    │   ├── AddressLostError            the address left the cluster while a step needed it
    │   ├── NotLeasedError              the lease of the cluster was released or is being released
    │   ├── StartTimeoutError           the cluster did not start in time and was terminated
    │   └── LockStoreError              the lock store is missing, unusable or not permitted
    │       ├── LockStoreNotCreatedError  no task has created the table of a lock store with create=true yet
    │       ├── NewerRecordError        a newer version of this package wrote the record
    │       └── CorruptRecordError      the stored data is not a lease record
    └── TransientError                  Airflow's retries may help
        ├── AddressBusyError            another job or resource has the address
        ├── WaitTimeoutError            a wait timed out
        ├── ClusterEndedError           the cluster is in a terminal state, or does not exist
        ├── NoCandidateStartedError     neither the cluster nor one of its fallbacks started
        ├── NotKnownYetError            AWS does not know an ID yet that it has just returned
        ├── CredentialsExpiredError     the session token has expired, and there is no newer one
        ├── KilledError                 the task was killed and changes nothing more
        ├── LockStoreUnavailableError   the lock store does not respond
        │   └── RecordContendedError    other tasks changed the record before each write, for minutes
        ├── QueueFullError              the record of the address has no room for another queue entry
        ├── LeaseLostError              another owner took over the lease while this task was delayed
        ├── SupersededError             a newer try of the same task is running
        ├── AzureUnavailableError       Azure does not respond, or throttles
        ├── LivyUnavailableError        a Livy server does not respond
        ├── BatchLostError              no Livy server has the batch
        ├── BatchFailedError            a Livy batch did not end successfully
        ├── GatewayFailedError          EC2 could not create the NAT gateway
        ├── LaunchUnclearError          it is unknown whether RunJobFlow launched a cluster
        ├── SubmissionCancelledError    the address left the cluster while steps were being submitted
        ├── StepFailedError             a step did not end as COMPLETED
        └── ReapingFailedError          some orphaned clusters could not be terminated

It imports only the standard library. Airflow pickles exceptions, and unpickling calls the constructor with ``args``.
The constructors here build their message from other arguments, hence ``__reduce__``.
"""

from __future__ import annotations

import re
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
    "LockStoreNotCreatedError",
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


# The meaning and the remedy of each state in which a batch ends without success (Livy's SessionState).
_BATCH_ENDS = {
    "dead": ("the driver or spark-submit exited with an error", "see the log above and the driver's log in YARN"),
    "killed": (
        "the application was killed in YARN, or the batch was deleted",
        "find out who did that (YARN's log of the application names the user), then run it again",
    ),
    "error": (
        "Livy itself failed to run it, or lost its application",
        "see the log above and Livy's own log on the primary node, /var/log/livy",
    ),
}


# "user:password@", whose password may contain a slash, or "user@", after the "//" of a URL.
_USER_INFO = re.compile(r"//(?:[^\s/:@]*:[^\s@]*|[^\s/@]+)@")


def without_passwords(text: str) -> str:
    """Return a text with the user and password of each URL in it replaced."""
    return _USER_INFO.sub("//***@", text)


def _restore(cls: type[ElasticIpError], message: str) -> ElasticIpError:
    error = cls.__new__(cls)
    error.args = (message,)
    return error


class ElasticIpError(Exception):
    """
    Base of every error of this package: ``<doing> <thing> 'id': <what happened>; <what to do>``.

    The text never contains the password of a URL.
    """

    def __init__(self, doing: str, *, problem: str, remedy: str) -> None:
        text = f"{doing}: {problem}; {remedy}" if doing else f"{problem}; {remedy}"
        super().__init__(without_passwords(text))
        self.problem = without_passwords(problem)
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), str(self)), self.__dict__


class PermanentError(ElasticIpError):
    """No retry helps: an operator fails its task at once."""


class TransientError(ElasticIpError):
    """A later try may succeed: Airflow's own retries apply."""


class InvalidInputError(PermanentError):
    """A parameter is wrong; nothing was changed in AWS."""


class UsageError(InvalidInputError):
    """An argument of an ``airflow-eip`` command is wrong; the command ends with exit status 2."""


class AddressNotFoundError(PermanentError):
    """The Elastic IP does not exist in this account and region."""

    def __init__(self, allocation_id: str, *, region: str) -> None:
        super().__init__(
            f"looking up Elastic IP '{allocation_id}'",
            problem=f"it does not exist in region '{region}': it was released, or belongs to another region or account",
            remedy="check the allocation ID, the region and the connection, or allocate and register a new address",
        )
        self.allocation_id = allocation_id


class PreflightError(PermanentError):
    """
    A check before the launch failed; nothing was changed in AWS.

    :param errors: the findings, each with what is wrong and how to fix it.
    """

    def __init__(self, allocation_id: str, errors: list[str]) -> None:
        problem = errors[0]
        if len(errors) > 1:
            problem = f"{len(errors)} problems: " + " ".join(f"({k}) {e}." for k, e in enumerate(errors, 1))
        super().__init__(
            f"checking the launch of a cluster with Elastic IP '{allocation_id}'",
            problem=problem,
            remedy="'airflow-eip doctor' runs the same checks without a launch",
        )
        self.allocation_id = allocation_id


class NotPermittedError(PermanentError):
    """IAM does not allow an action that the task needs."""

    def __init__(self, action: str, *, resource: str) -> None:
        super().__init__(
            f"checking permission '{action}' on '{resource}'",
            problem="the credentials of this task do not allow it",
            remedy=f"allow {action} in the policy of the role that aws_conn_id uses",
        )
        self.action = action
        self.resource = resource


class MissingConnectionError(PermanentError):
    """The Airflow connection does not exist. Default credentials are not used instead."""

    def __init__(
        self, conn_id: str, *, otherwise: str = ", or set aws_conn_id=None to use boto3's default credentials"
    ) -> None:
        super().__init__(
            f"reading Airflow connection '{conn_id}'", problem="it does not exist", remedy=f"create it{otherwise}"
        )
        self.conn_id = conn_id


class MissingExtraError(PermanentError):
    """An optional dependency of this package is not installed."""

    def __init__(self, extra: str, *, doing: str, module: str | None) -> None:
        super().__init__(
            doing,
            problem=f"Python module '{module}' is not installed",
            remedy=f"run pip install 'airflow-eip-provider[{extra}]' wherever tasks and triggers run",
        )


class AzureRefusedError(PermanentError):
    """Azure refuses the request, and would refuse a retry. The message has Azure's code and text."""

    def __init__(self, doing: str, *, code: str, problem: str, remedy: str) -> None:
        super().__init__(doing, problem=f"Azure returned {code}: {problem}", remedy=remedy)
        self.code = code


class LivyRefusedError(PermanentError):
    """
    A Livy server refuses the request, and would refuse a retry. The message has its status and text.

    :ivar status: of the HTTP response.
    """

    def __init__(self, doing: str, *, status: int, problem: str, remedy: str) -> None:
        super().__init__(doing, problem=f"Livy returned {status}: {problem}", remedy=remedy)
        self.status = status


class FirewallRuleConflictError(PermanentError):
    """A firewall rule with that name allows other addresses. It is not changed."""

    def __init__(self, name: str, *, server: str, admits: str, public_ip: str) -> None:
        super().__init__(
            f"using firewall rule '{name}' of Azure SQL server '{server}' for {public_ip}",
            problem=f"it allows {admits}, and was not changed",
            remedy="choose another rule_name, or delete that rule if it is no longer needed",
        )
        self.name = name


class NotBoundError(PermanentError):
    """The address is not on the cluster to which steps or a batch were to be submitted."""

    def __init__(self, allocation_id: str, *, job_flow_id: str, place: str, work: str = "steps") -> None:
        super().__init__(
            f"submitting {work} to cluster '{job_flow_id}'",
            problem=f"Elastic IP '{allocation_id}' is {place}",
            remedy="create the cluster with EmrCreateWithStaticIpOperator, or use EipAssociateOperator first",
        )
        self.allocation_id = allocation_id
        self.job_flow_id = job_flow_id


class AddressLostError(PermanentError):
    """The address left the cluster while a step needed it."""

    def __init__(self, allocation_id: str, *, job_flow_id: str, place: str, consequence: str) -> None:
        super().__init__(
            f"watching Elastic IP '{allocation_id}' on cluster '{job_flow_id}'",
            problem=f"it left the cluster and is now {place}; {consequence}",
            remedy="find out who moved it (CloudTrail: AssociateAddress, DisassociateAddress), then rerun the DAG run",
        )
        self.allocation_id = allocation_id
        self.job_flow_id = job_flow_id


class NotLeasedError(PermanentError):
    """The lease of the cluster to which steps or a batch were to be submitted was released or is being released."""

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
        super().__init__(
            f"submitting {work} to cluster '{job_flow_id}'",
            problem=f"in the lock store, Elastic IP '{allocation_id}' is {condition}{done}",
            remedy=f"submit all {work} that need the address before it is released, or create another cluster for them",
        )
        self.allocation_id = allocation_id
        self.job_flow_id = job_flow_id


class StartTimeoutError(PermanentError):
    """The cluster did not reach RUNNING or WAITING within its start timeout, and was terminated."""

    def __init__(self, job_flow_id: str, *, state: str, reason: str, seconds: float) -> None:
        super().__init__(
            f"waiting for cluster '{job_flow_id}' to start",
            problem=f"{seconds:.0f} s after RunJobFlow it was {state}: {reason}; it was terminated",
            remedy="clear the DAG run from the task that creates the cluster; add fallbacks, so that this task tries "
            "another zone or instance type, or raise start_timeout if such a start is normal",
        )
        self.job_flow_id = job_flow_id


class LockStoreError(PermanentError):
    """The lock store is missing, unusable or not permitted; nothing was changed."""

    def __init__(self, uri: str, *, problem: str, remedy: str) -> None:
        super().__init__(f"opening lock store '{uri}'", problem=problem, remedy=remedy)
        self.uri = uri


class LockStoreNotCreatedError(LockStoreError):
    """The table of a lock store with ``create=true`` does not exist yet; the first task that needs it creates it."""

    def __init__(self, uri: str, *, region: str) -> None:
        super().__init__(
            uri,
            problem=f"no task has used it yet in region '{region}'",
            remedy="the first task creates it, because of create=true; if tasks have used it, check the region",
        )


class NewerRecordError(LockStoreError):
    """A newer version of this package wrote the record; this version must not change it."""

    def __init__(self, uri: str, *, schema: int, known: int) -> None:
        super().__init__(
            uri,
            problem=f"a newer version wrote the record with schema {schema}; this version reads schemas up to {known}",
            remedy="upgrade airflow-eip-provider in this environment to the version of the other environments",
        )


class CorruptRecordError(LockStoreError):
    """The data that is stored for the address is not a lease record."""

    def __init__(self, uri: str, *, problem: str) -> None:
        super().__init__(
            uri,
            problem=f"the stored data is not a lease record: {problem}",
            remedy="make sure that no job uses the address, then delete the record (fencing tokens restart at 1)",
        )


class LockStoreUnavailableError(TransientError):
    """The lock store does not respond."""

    def __init__(self, uri: str, *, problem: str) -> None:
        super().__init__(
            f"using lock store '{uri}'",
            problem=f"it does not respond: {problem}",
            remedy="a retry continues where this try stopped; running steps are not affected",
        )
        self.uri = uri


class RecordContendedError(LockStoreUnavailableError):
    """Other tasks changed the record before each write of this task, for minutes."""

    def __init__(self, uri: str, *, writes: int, seconds: float) -> None:
        TransientError.__init__(
            self,
            f"writing to lock store '{uri}'",
            problem=f"other tasks changed the record before each of {writes} writes in {seconds:.0f} s",
            remedy="a retry continues where this try stopped; if that fails too, start fewer tasks at the same time",
        )
        self.uri = uri


class QueueFullError(TransientError):
    """The record of the address has no room for another queue entry; nothing was changed."""

    def __init__(self, uri: str, *, waiting: int, size: int, most: int) -> None:
        super().__init__(
            f"queueing in lock store '{uri}'",
            problem=f"{waiting:,} owners are waiting for this address; another entry would make its record {size:,} "
            f"bytes long, and the limit is {most:,}",
            remedy="a retry succeeds when the queue is shorter; start fewer runs at a time (max_active_runs), or use "
            "more addresses",
        )


class NotKnownYetError(TransientError):
    """AWS does not know an ID yet that it has just returned, because its reads are eventually consistent."""

    def __init__(self, resource_id: str) -> None:
        super().__init__(
            f"using '{resource_id}'",
            problem="AWS does not know this ID, or does not know it yet",
            remedy="a retry helps if the resource is only seconds old; otherwise check that it still exists",
        )
        self.resource_id = resource_id


class LeaseLostError(TransientError):
    """Another owner took over the lease while this task was delayed. What this task did is undone."""

    def __init__(self, allocation_id: str, *, who: str = "this task", problem: str) -> None:
        super().__init__(
            f"using the lease of Elastic IP '{allocation_id}'",
            problem=f"the lease no longer belongs to {who}: {problem}",
            remedy=f"a retry joins the queue again; find out what delayed {who}",
        )
        self.allocation_id = allocation_id


class SupersededError(TransientError):
    """A newer try of the same task is running. This one changes nothing more."""

    def __init__(self, allocation_id: str, *, problem: str) -> None:
        super().__init__(
            f"working with Elastic IP '{allocation_id}'",
            problem=problem,
            remedy="nothing: the newer try continues; if there is none, the DAG run was deleted and created again with "
            "the same run ID (use another run ID), or another Airflow environment has the same [eip] environment (give "
            "each its own)",
        )
        self.allocation_id = allocation_id


class AddressBusyError(TransientError):
    """Another job or resource has the address, and did not release it in time."""

    def __init__(self, allocation_id: str, *, holder: str, waited_seconds: float | None = None) -> None:
        still = "" if waited_seconds is None else f"after {waited_seconds:.0f} s "
        super().__init__(
            f"associating Elastic IP '{allocation_id}'",
            problem=f"{still}it is held by {holder}",
            remedy="wait for that job, raise lock_timeout (or --wait), or release the address with EipReleaseOperator "
            "or airflow-eip release",
        )
        self.allocation_id = allocation_id
        self.holder = holder


class WaitTimeoutError(TransientError):
    """A wait timed out."""

    def __init__(self, waiting_for: str, *, last_seen: str, bound: str) -> None:
        super().__init__(
            f"waiting for {waiting_for}",
            problem=f"timed out; last state: {last_seen}",
            remedy=f"raise {bound} if that is a normal duration",
        )


class ClusterEndedError(TransientError):
    """The cluster is terminating, has ended or does not exist."""

    def __init__(self, job_flow_id: str, *, state: str, reason: str) -> None:
        super().__init__(
            f"using cluster '{job_flow_id}'",
            problem=f"it is {state}: {reason}",
            remedy="check the cluster ID and the region"
            if state == "unknown"
            else "fix the cause that EMR names, then retry the task that creates the cluster; it starts a new one",
        )
        self.job_flow_id = job_flow_id
        self.state = state


class NoCandidateStartedError(TransientError):
    """
    Neither the first choice of the cluster nor one of its fallbacks started. The launched clusters were terminated.

    :param attempts: the value of the XCom ``attempts``.
    """

    def __init__(self, allocation_id: str, *, attempts: Sequence[Mapping[str, Any]]) -> None:
        outcomes = "; ".join(
            f"candidate {attempt['candidate']} ({attempt['subnet']}, {attempt['instance_type']}), "
            f"cluster {attempt['job_flow_id']}: {attempt['outcome']}: {attempt['reason']}"
            for attempt in attempts
        )
        super().__init__(
            f"starting a cluster for Elastic IP '{allocation_id}'",
            problem=f"no candidate started: {outcomes}",
            remedy="a retry starts with the first choice again; add fallbacks in other zones or with other instance "
            "types, or raise fallback_rounds",
        )
        self.allocation_id = allocation_id


class CredentialsExpiredError(TransientError):
    """The session token has expired, and reading the connection again gave no newer one."""

    def __init__(self, conn_id: str | None, *, problem: str) -> None:
        source = f"Airflow connection '{conn_id}'" if conn_id else "boto3's default credentials"
        super().__init__(
            f"calling AWS with {source}",
            problem=f"the session token has expired, and reading the credentials again gave no newer one: {problem}",
            remedy="renew the token, or use a role whose credentials boto3 renews automatically",
        )
        self.conn_id = conn_id


class KilledError(TransientError):
    """The task was killed. ``on_kill`` cleans up, and the rest of the task must not change AWS again."""

    def __init__(self, allocation_id: str | None) -> None:
        super().__init__(
            f"working with Elastic IP '{allocation_id}'" if allocation_id else "running this task",
            problem="this task was killed, so it changes nothing more in AWS",
            remedy="on_kill cleans up (see the log above); a retry starts again",
        )


class AzureUnavailableError(TransientError):
    """Azure does not respond, or throttles for longer than its client waits."""

    def __init__(self, doing: str, *, problem: str) -> None:
        super().__init__(doing, problem=problem, remedy="a retry continues where this try stopped")


class LivyUnavailableError(TransientError):
    """
    A Livy server does not respond, or returns a server error.

    :ivar was_sent: the request may have reached the server and may have had its effect.
    """

    def __init__(self, doing: str, *, problem: str, was_sent: bool = True) -> None:
        super().__init__(doing, problem=problem, remedy="a retry looks for the batch by its name before it submits one")
        self.was_sent = was_sent


class BatchLostError(TransientError):
    """No Livy server has the batch: its server was lost or restarted, or the batch was deleted."""

    def __init__(self, name: str, *, batch_id: int, app_id: str | None, server: str, seconds: float) -> None:
        application = f"its YARN application is {app_id}" if app_id else "it had no YARN application yet"
        super().__init__(
            f"watching Livy batch '{name}' (id {batch_id}) on {server}",
            problem=f"for {seconds:.0f} s no server had a batch of that name, so its server was lost or was restarted "
            f"without recovery, or the batch was deleted; its result is unknown, and {application}",
            remedy="a retry submits it again; if its cluster is still running, first check that the application ended",
        )
        self.name = name


class BatchFailedError(TransientError):
    """
    A Livy batch did not end successfully.

    :ivar state: ``dead``, ``killed`` or ``error``.
    """

    def __init__(self, name: str, *, batch_id: int, app_id: str | None, state: str) -> None:
        meaning, remedy = _BATCH_ENDS.get(state, ("Livy gives no reason", "see the log above"))
        super().__init__(
            f"running Livy batch '{name}' (id {batch_id}, application {app_id or 'none'})",
            problem=f"it ended {state}: {meaning}",
            remedy=remedy,
        )
        self.name = name
        self.state = state


class GatewayFailedError(TransientError):
    """EC2 could not create the NAT gateway for the address. The failed gateway is deleted."""

    def __init__(self, gateway_id: str, *, allocation_id: str, code: str, problem: str) -> None:
        super().__init__(
            f"creating NAT gateway '{gateway_id}' for Elastic IP '{allocation_id}'",
            problem=f"it failed: {code} {problem}".rstrip(),
            remedy="fix the cause that EC2 names; a retry creates another gateway",
        )
        self.gateway_id = gateway_id
        self.allocation_id = allocation_id


class LaunchUnclearError(TransientError):
    """It is unknown whether RunJobFlow launched a cluster: the response was lost, and EMR shows no cluster."""

    def __init__(self, name: str, *, owner: str, problem: str) -> None:
        super().__init__(
            f"launching cluster '{name}' for '{owner}'",
            problem=f"RunJobFlow gave no clear answer ({problem}), and EMR shows no cluster with this launch's tags",
            remedy="a retry looks for the cluster again before it launches another",
        )


class SubmissionCancelledError(TransientError):
    """The address left the cluster while steps or a batch were being submitted. They were cancelled."""

    def __init__(
        self, allocation_id: str, *, job_flow_id: str, place: str, step_ids: Sequence[str], work: str = "steps"
    ) -> None:
        super().__init__(
            f"submitting {work} to cluster '{job_flow_id}'",
            problem=f"Elastic IP '{allocation_id}' left the cluster meanwhile and is now {place}; cancelled the "
            f"submitted {work}: {', '.join(step_ids)}",
            remedy="find out who released or moved the address (CloudTrail: DisassociateAddress, AssociateAddress); a "
            f"retry submits the {work} again if the address is on the cluster",
        )
        self.allocation_id = allocation_id
        self.job_flow_id = job_flow_id


class StepFailedError(TransientError):
    """A step ended in a state other than COMPLETED."""

    def __init__(self, job_flow_id: str, *, step_id: str, name: str, state: str, reason: str) -> None:
        super().__init__(
            f"running step '{step_id}' ({name}) on cluster '{job_flow_id}'",
            problem=f"it ended {state}: {reason}",
            remedy="see its stdout and stderr above (only for clusters with a LogUri)",
        )
        self.step_id = step_id


class ReapingFailedError(TransientError):
    """Some orphaned clusters or their NAT gateways could not be removed. The others were removed."""

    def __init__(self, failed: list[str]) -> None:
        super().__init__(
            "reaping orphaned clusters",
            problem=f"{len(failed)} failed: {'; '.join(failed)}",
            remedy="fix the cause and run the reaper again; the others were removed",
        )
