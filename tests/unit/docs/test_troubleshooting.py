"""docs/troubleshooting.md and docs/reference/exceptions.md say what the code says: messages, classes, retries."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from airflow_eip_provider import exceptions
from airflow_eip_provider.aws.clusters import _reason
from airflow_eip_provider.aws.start_failures import START_TIMEOUT
from airflow_eip_provider.cli.arguments import checked_job_flow_id
from airflow_eip_provider.cli.drill.recovery import MEANING
from airflow_eip_provider.exceptions import ElasticIpError, PermanentError, TransientError
from airflow_eip_provider.hooks import azure
from airflow_eip_provider.lease.description import QueuePlace
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.preflight import Setup
from airflow_eip_provider.preflight.job_flow import lifetime
from airflow_eip_provider.reaper.reaper import Outcome
from airflow_eip_provider.stores.dynamodb import DynamoDbStore
from airflow_eip_provider.stores.s3 import S3Store
from airflow_eip_provider.stores.uri import open_store
from local_emr.azure_sql import firewall

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "airflow_eip_provider"
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
REFERENCE = ROOT / "docs" / "reference" / "exceptions.md"
BASES = {ElasticIpError, PermanentError, TransientError}

_ENTRY = re.compile(r"^### (.+?)\n(.*?)(?=^##|\Z)", re.DOTALL | re.MULTILINE)
_PLACEHOLDER = re.compile(r"%(?:\.\d)?[sdf]")


@cache
def texts_of_the_code() -> frozenset[str]:
    """Every text in the provider's source, with ``{}`` for what is filled in."""
    texts = set()
    for source in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(_PLACEHOLDER.sub("{}", node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                texts.add("".join(map(str, parts)))
    return frozenset(texts)


def said(template: str, *values: object) -> str:
    """Return a text that the code has, filled in."""
    assert template in texts_of_the_code(), f"nothing in the code says: {template}"
    return template.format(*values)


class _Refusing:
    """A boto3 client whose every call is answered with one error."""

    def __init__(self, code: str, *, region: str = "eu-west-1", headers: dict[str, str] | None = None) -> None:
        self.meta = type("Meta", (), {"region_name": region})
        self._code, self._headers = code, headers or {}

    def __getattr__(self, name: str) -> Any:
        def call(**_parameters: object) -> None:
            raise aws_error(self._code, name, headers=self._headers)

        return call


def _not_there(*_: object) -> _Refusing:
    return _Refusing("ResourceNotFoundException")


class _Storing:
    """A client of DynamoDB with one item."""

    def __init__(self, record: str) -> None:
        self._record = record

    def get_item(self, **_parameters: object) -> dict[str, Any]:
        headers = {"date": "Fri, 20 Nov 2026 03:10:00 GMT"}
        item = {"version": {"S": "1"}, "record": {"S": self._record}}
        return {"Item": item, "ResponseMetadata": {"HTTPHeaders": headers}}


def aws_error(
    code: str, operation: str, message: str = "", *, retries: int | None = None, headers: dict[str, str] | None = None
) -> ClientError:
    metadata: dict[str, Any] = {"HTTPStatusCode": 400, "HTTPHeaders": headers or {}}
    if retries is not None:
        metadata |= {"MaxAttemptsReached": True, "RetryAttempts": retries}
    error: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}
    return ClientError(error, operation)


def of(call: Any, *arguments: Any, **options: Any) -> ElasticIpError:
    """Return the error that the code itself raises."""
    with pytest.raises(ElasticIpError) as raised:
        call(*arguments, **options)
    return raised.value


EIP, CLUSTER, INSTANCE, STEP = "eipalloc-0a1b2c3d4e5f60718", "j-1A2B3C4D5E6F7", "i-0123456789abcdef0", "s-1A2B3C4D5E6F7"
RUN = "scheduled__2026-11-20T00:00:00+00:00"
OWNER = f"production/orders/{RUN}/azure.create/-1"
BATCH, LIVY = "orders-eip-0123456789ab-1", "http://10.0.1.5:8998"
TABLE = "dynamodb://airflow-eip-leases"


@cache
def messages() -> dict[str, list[str]]:
    """Return what the page may show: texts of the code with sample values, by the error class or ``log``."""
    held = said("held by '{}'{} since {}{}", OWNER, said(" on {}", CLUSTER), "2026-11-20 03:10:00Z", "")
    queue = QueuePlace(2, 3, held)
    nobody = said("held by no owner")
    stranger = said("held by no owner, but the address is on {}", INSTANCE)
    cancelled = said("cancelled the steps that still needed it: {}", STEP)
    elsewhere = said("{}, which is not the primary node", f"on cluster '{CLUSTER}' (instance 'i-0fedcba9876543210')")
    bound = "start_timeout, waiter_delay or waiter_max_attempts"
    setup = Setup(allocation_id=EIP, eip=None, emr=None, job_flow={"Name": "daily", "Instances": {}})  # type: ignore[arg-type]
    no_capacity = {
        "StateChangeReason": {"Code": "INTERNAL_ERROR", "Message": "The zone has no capacity for the instance type"}
    }
    idle = {
        "StateChangeReason": {
            "Code": "USER_REQUEST",
            "Message": "Terminated by the auto-termination policy: idle for too long",
        }
    }
    emr, dynamodb = "https://elasticmapreduce.eu-west-1.amazonaws.com/", "https://dynamodb.eu-west-1.amazonaws.com/"
    lost = f"ReadTimeoutError: {ReadTimeoutError(endpoint_url=emr)}"
    throttled = aws_error("ThrottlingException", "DescribeCluster", "Rate exceeded", retries=4)
    expired = aws_error(
        "ExpiredTokenException", "DescribeCluster", "The security token included in the request is expired"
    )
    denied = aws_error("AccessDeniedException", "TerminateJobFlows", "not authorized")
    no_cluster = exceptions.InvalidInputError(
        said("submitting steps"),
        problem=said("no cluster: job_flow_id is {}, job_flow_name is {}", "'None'", None),
        remedy=said("pass the output of the creating task as job_flow_id, and see that that task has returned it"),
    )
    no_environment = exceptions.InvalidInputError(
        said("using lock store '{}'", TABLE),
        problem=said(
            "[eip] environment is not set, so two environments with the same DAGs could not be told apart",
        ),
        remedy=said("set it in airflow.cfg (AIRFLOW__EIP__ENVIRONMENT) to a name that no other environment has"),
    )
    still_there = exceptions.InvalidInputError(
        said("ending the use of Elastic IP '{}' by this DAG run", EIP),
        problem=said("{}, but {} of the same DAG run still exists", said("there is no job_flow_id"), CLUSTER),
        remedy=said(
            "pass the output of the creating task as job_flow_id, and check the region; nothing was changed, so "
            "clear this task when the ID is correct"
        ),
    )
    from_a_node = exceptions.InvalidInputError(
        said("using lock store '{}' from a node", "s3://leases/eip"),
        problem=said("conditional writes to S3 need a newer AWS CLI than EMR's images have"),
        remedy=said("use a dynamodb:// lock store for all owners that share the address, or omit --lock-store"),
    )
    running_batch = said(
        "Livy batch {} on {} may still run. A retry, or the task after a clear, continues with it; to end it, send "
        "DELETE /batches/{} to that server",
        *(BATCH, LIVY, BATCH),
    )
    table, gateway = "rtb-0123456789abcdef0", "nat-0123456789abcdef0"
    route = said("changing the default route of '{}'", table)
    errors: list[ElasticIpError] = [
        no_cluster,
        no_environment,
        still_there,
        from_a_node,
        of(preflight.check_allocation_id, "52.31.7.20"),
        of(checked_job_flow_id, "daily"),
        of(preflight.require, setup, [lifetime]),
        of(DynamoDbStore("airflow-eip-leases", _Refusing("ResourceNotFoundException")).check),
        of(open_store("dynamodb://airflow-eip-leases?create=true", _not_there).read, EIP),
        of(DynamoDbStore("airflow-eip-leases", _Refusing("AccessDeniedException")).read, EIP),
        of(S3Store("leases", "eip", _Refusing("301", headers={"x-amz-bucket-region": "us-east-1"})).check),
        of(DynamoDbStore("airflow-eip-leases", _Storing("{'lease'")).read, EIP),
        of(DynamoDbStore("airflow-eip-leases", _Storing('{"schema": 9}')).read, EIP),
        exceptions.AddressNotFoundError(EIP, region="eu-west-1"),
        exceptions.NotPermittedError("ec2:AssociateAddress", resource=EIP),
        exceptions.MissingConnectionError("aws_production"),
        exceptions.MissingExtraError("azure", doing=said("connecting to Azure"), module="azure.mgmt.sql"),
        exceptions.AddressBusyError(EIP, holder=held.removeprefix("held by "), waited_seconds=21600),
        exceptions.QueueFullError(TABLE, waiting=4700, size=300_017, most=300_000),
        exceptions.LeaseLostError(EIP, problem=said("token {} is not current", 41)),
        exceptions.SupersededError(EIP, problem=said("a newer try of {} is at work", f"'{OWNER}'")),
        exceptions.ClusterEndedError(CLUSTER, state="TERMINATED_WITH_ERRORS", reason=_reason(no_capacity)),
        exceptions.ClusterEndedError(CLUSTER, state="TERMINATED", reason=_reason(idle)),
        exceptions.WaitTimeoutError(
            said("cluster '{}' to be {}", CLUSTER, said("primary_running")),
            last_seen=said("Cluster {} is {} and has no primary instance yet", CLUSTER, "STARTING"),
            bound=said(bound),
        ),
        exceptions.StartTimeoutError(CLUSTER, state="STARTING", reason=_reason({}), seconds=2700),
        exceptions.NoCandidateStartedError(
            "eipalloc-0123456789abcdef0",
            attempts=[
                {
                    "candidate": 0,
                    "subnet": "subnet-0123456789abcdef0",
                    "instance_type": "m5.xlarge",
                    "job_flow_id": CLUSTER,
                    "outcome": START_TIMEOUT,
                    "reason": "not started in time",
                }
            ],
        ),
        exceptions.LaunchUnclearError("daily", owner=OWNER, problem=lost),
        exceptions.NotKnownYetError("eni-0123456789abcdef0"),
        exceptions.NotBoundError(EIP, job_flow_id=CLUSTER, place=elsewhere),
        exceptions.AddressLostError(
            EIP, job_flow_id=CLUSTER, place=said("on {}", said("instance '{}'", INSTANCE)), consequence=cancelled
        ),
        exceptions.NotLeasedError(EIP, job_flow_id=CLUSTER, condition=said("not leased"), consequence=cancelled),
        exceptions.SubmissionCancelledError(EIP, job_flow_id=CLUSTER, place=said("not associated"), step_ids=[STEP]),
        exceptions.StepFailedError(CLUSTER, step_id=STEP, name="read orders", state="FAILED", reason="Unknown Error"),
        exceptions.KilledError(EIP),
        exceptions.ReapingFailedError([str(Outcome(CLUSTER, reaped=False, message=str(denied), failed=True))]),
        exceptions.LockStoreUnavailableError(
            TABLE, problem=f"ConnectTimeoutError: {ConnectTimeoutError(endpoint_url=dynamodb)}"
        ),
        exceptions.RecordContendedError(TABLE, writes=40, seconds=300.0),
        exceptions.CredentialsExpiredError("aws_production", problem=str(expired)),
        *(
            exceptions.InvalidInputError(
                route,
                problem=said(
                    "{} with another Elastic IP", said(use, said("NAT gateway '{}' of cluster '{}'", gateway, CLUSTER))
                ),
                remedy=said("use separate route tables for each Elastic IP"),
            )
            for use in ("it leads to {}", "it is also used by {}, which was created earlier,")
        ),
        exceptions.GatewayFailedError(
            gateway,
            allocation_id=EIP,
            code="Gateway.NotAttached",
            problem="Network vpc-1 has no Internet gateway attached",
        ),
        exceptions.AzureRefusedError(
            said("reading the firewall rules of Azure SQL server '{}'", "sales"),
            code="AuthorizationFailed",
            problem="The client does not have authorization to perform action "
            "'Microsoft.Sql/servers/firewallRules/read'",
            remedy=azure._REMEDIES["AuthorizationFailed"],
        ),
        exceptions.AzureUnavailableError(
            said("reading the firewall rules of Azure SQL server '{}'", "sales"), problem="429 Too Many Requests"
        ),
        exceptions.LivyRefusedError(
            said("{} on {}", said("submitting Livy batch '{}'", BATCH), LIVY),
            status=400,
            problem="requirement failed: Local path /tmp/job.py cannot be added to user sessions",
            remedy=said("check the parameters of the batch, and login, headers and endpoint of the Livy connection"),
        ),
        exceptions.LivyRefusedError(
            said("{} on {}", said("looking for Livy batch '{}'", BATCH), said("the host of connection '{}'", "livy")),
            status=301,
            problem=said("a redirect to {}, which is not followed", f"https://livy.example.com/batches/{BATCH}"),
            remedy=said(
                "set schema, host and port of the Livy connection, server_url or livy_endpoint_prefix to where Livy "
                "itself answers"
            ),
        ),
        exceptions.LivyUnavailableError(
            said("{} on {}", said("looking for Livy batch '{}'", BATCH), LIVY), problem="503 Service Unavailable"
        ),
        exceptions.BatchLostError(BATCH, batch_id=3, app_id="application_1795000000000_0042", server=LIVY, seconds=120),
        exceptions.BatchFailedError(BATCH, batch_id=3, app_id="application_1795000000000_0042", state="dead"),
        exceptions.FirewallRuleConflictError(
            "eip-52.31.7.20",
            server="sales",
            admits=said("{} to {}", "52.31.7.0", "52.31.7.255"),
            public_ip="52.31.7.20",
        ),
    ]
    logs = [
        said("Waiting for Elastic IP {}: {}", EIP, queue),
        said("Waiting for Elastic IP {}: {}", EIP, QueuePlace(1, 1, stranger)),
        said("Waiting for Elastic IP {}: {}", EIP, QueuePlace(2, 2, nobody)),
        said(
            "A free Elastic IP {} is kept {} s for the task whose turn it is, as its record says; the {} s that are "
            "configured here apply once its record has neither a lease nor a queue",
            *(EIP, 120, 300),
        ),
        said(
            "This task waits in a worker for Elastic IP {}, and keeps its slot meanwhile. When no slot is left for the "
            "tasks that free the address, neither can continue before lock_timeout ({}): set deferrable=True, which "
            "needs a triggerer",
            *(EIP, "6:00:00"),
        ),
        said("The deferred wait ended without an event; undoing what this task did"),
        said(
            "execution_timeout ({}) has passed, what this task did is undone; last seen: {}",
            *("1:00:00", said("Elastic IP {}: {}", EIP, queue)),
        ),
        said("This deferral is of try {}; starting again from the beginning", 1),
        said("Terminating cluster {}: an earlier try of the same task launched it", "j-7F6E5D4C3B2A1"),
        said("Cluster {} has no LogUri: there are no step logs to show", CLUSTER),
        said(
            "Elastic IP {} is {}: it left cluster {} before these steps were seen to end: {}. Unless it was released "
            "after their end, their last connections did not leave from it; check what they did",
            *(EIP, said("not associated"), CLUSTER, STEP),
        ),
        said(
            "Cleaning up takes longer than {} s; it continues while this process runs. What is left is cleaned up by "
            "the retry, the next owner of the address, or EMR's idle termination",
            4.0,
        ),
        said(
            "Cleaning up after the failure above failed as well; {}",
            said("'airflow-eip status' and 'airflow-eip reap' show what is left"),
        ),
        said("Cleaning up after the failure above failed as well; {}", running_batch),
        said("Livy has not answered the POST and does not show its batch. {}", running_batch),
        said(
            "Cluster {} is not terminated: the lock store, which says whether a newer try has adopted it, does not "
            "answer. A retry of this task or the next owner of Elastic IP {} ends it, or EMR when it has been idle "
            "(idle_timeout: {}). To end it now: aws emr terminate-clusters --cluster-ids {}",
            *(CLUSTER, EIP, "1:00:00", CLUSTER),
        ),
        said("There is no cluster to terminate: the creating task published no job_flow_id"),
        said(
            "{} {} ({}) of '{}': {}",
            *("reap", CLUSTER, "WAITING", OWNER),
            said("its {} has ended: {}", said("DAG run '{}/{}'", "orders", RUN), "failed"),
        ),
        said("AWS gave no answer, trying again in {} s: {}", 15, throttled),
        str(
            TransientError(
                said("stopping the primary '{}' for a drill", CLUSTER),
                problem=said(
                    "Elastic IP '{}' is not the primary's: {}; nothing was changed",
                    *(EIP, said("it is on {}", said("instance '{}'", INSTANCE))),
                ),
                remedy=said("run the drill when the primary has the address again"),
            )
        ),
        str(
            TransientError(
                said("associating Elastic IP '{}' with instance '{}'", EIP, INSTANCE),
                problem=said(
                    "Elastic IP '{}' ({}) is there, and the instance's primary private address can have only one",
                    *("eipalloc-0f9e8d7c6b5a43210", "203.0.113.7"),
                ),
                remedy=said("disassociate that one, or name it as allocation_id"),
            )
        ),
        str(
            TransientError(
                route,
                problem=said(
                    "its target was '{}' when NAT gateway '{}' was created, and is now '{}'",
                    *("igw-0123456789abcdef0", gateway, "tgw-0123456789abcdef0"),
                ),
                remedy=said(
                    "do not change this route while a cluster starts; a retry restores the new target afterwards"
                ),
            )
        ),
        said(
            "EC2 refuses {} as the default route of {}, which now has none: {}",
            *("igw-0123456789abcdef0", table),
            aws_error(
                "InvalidParameterValue",
                "ReplaceRoute",
                f"route table {table} and network gateway igw-0123456789abcdef0 belong to different networks",
            ),
        ),
        said("given up: not seen that {}", f"{MEANING['detected']}, {MEANING['bound']}"),
    ]
    shown: dict[str, list[str]] = {"log": logs}
    for error in errors:
        shown.setdefault(type(error).__name__, []).append(str(error))
    return shown


@cache
def page(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def flat(text: str) -> str:
    return " ".join(text.split())


def blocks(text: str, kind: str = "text") -> list[str]:
    """The messages in code blocks of one kind, each in one line."""
    return [flat(found) for found in re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)]


def entries() -> list[tuple[str, str]]:
    return _ENTRY.findall(page(TROUBLESHOOTING))


def leaves() -> set[type[ElasticIpError]]:
    return {getattr(exceptions, name) for name in exceptions.__all__} - BASES


def first_sentence(cls: type) -> str:
    return flat(str(inspect.getdoc(cls)).split("\n\n")[0]).replace("``", "`")


@pytest.mark.parametrize(("title", "body"), entries(), ids=[title for title, _ in entries()])
def test_every_entry_has_cause_and_remedy(title: str, body: str) -> None:
    assert re.search(r"^```text", body, re.MULTILINE), title
    assert body.index("```text") < body.index("**What happened.**") < body.index("**What to do.**")


def test_every_message_is_one_that_the_code_has() -> None:
    shown = messages()
    known = {flat(text) for text in itertools.chain(*shown.values())}
    on_the_page = blocks(page(TROUBLESHOOTING))
    assert [text for text in on_the_page if text not in known] == []
    assert sorted(known - set(on_the_page)) == []


def test_the_messages_of_others_are_theirs() -> None:
    quota = aws_error(
        "NatGatewayLimitExceeded", "CreateNatGateway", "The maximum number of NAT Gateways has been reached."
    )
    assert blocks(page(TROUBLESHOOTING), "text aws") == [str(quota)]
    assert blocks(page(TROUBLESHOOTING), "text azure") == [flat(firewall.refusal(server="sales", ip="52.31.7.20"))]


@pytest.mark.parametrize("cls", sorted(leaves(), key=lambda cls: cls.__name__))
def test_every_error_class_has_an_entry_with_its_message(cls: type[ElasticIpError]) -> None:
    named = f"Error class: `{cls.__name__}`"
    (body,) = [body for _, body in entries() if named in body]
    assert blocks(body)[0] in {flat(text) for text in messages()[cls.__name__]}
    (retried,) = re.findall(rf"^{named} \((.*?)\)$", body, re.MULTILINE)
    if cls is exceptions.UsageError:
        assert retried.startswith("command line")
    else:
        assert retried.startswith("not retried" if issubclass(cls, PermanentError) else "retried")


@pytest.mark.parametrize("path", [TROUBLESHOOTING, REFERENCE], ids=lambda path: path.name)
def test_no_page_names_an_error_class_that_does_not_exist(path: Path) -> None:
    of_airflow = {"TaskDeferralError"}
    of_botocore = {"ClientError", "ReadTimeoutError", "ConnectTimeoutError"}
    named = set(re.findall(r"\b[A-Z][A-Za-z]+Error\b", page(path)))
    assert named - set(exceptions.__all__) - of_airflow - of_botocore == set()


@pytest.mark.parametrize("path", [TROUBLESHOOTING, REFERENCE], ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    def anchors(target: Path) -> set[str]:
        prose = re.sub(r"^```.*?^```", "", target.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        return {
            re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
        }

    links = re.findall(r"\]\(([^)\s]+)\)", page(path))
    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_reference_has_the_tree_of_the_module() -> None:
    (tree,) = re.findall(r"^    (ElasticIpError\n.*?)\n\n", str(exceptions.__doc__), re.DOTALL | re.MULTILINE)
    (drawn,) = re.findall(r"^```text tree\n(.*?)^```", page(REFERENCE), re.DOTALL | re.MULTILINE)
    assert [line.strip() for line in drawn.splitlines()] == [line.strip() for line in tree.splitlines()]


@pytest.mark.parametrize("name", exceptions.__all__)
def test_the_reference_has_meaning_retry_cause_and_remedy_of_each_class(name: str) -> None:
    cls = getattr(exceptions, name)
    (body,) = [body for title, body in _ENTRY.findall(page(REFERENCE)) if title == f"`{name}`"]
    assert flat(body).startswith(first_sentence(cls))
    assert f"Base class: `{cls.__bases__[0].__name__}`." in body
    if cls in BASES:
        return
    retried = "no" if issubclass(cls, PermanentError) else "yes"
    assert re.search(rf"^- \*\*Retried by Airflow:\*\* {retried}\b", body, re.MULTILINE)
    for part in ("Cause", "Remedy"):
        assert re.search(rf"^- \*\*{part}:\*\* \S", body, re.MULTILINE), part
    assert "](../troubleshooting.md#" in body


def test_the_reference_names_classes_in_the_order_of_the_tree() -> None:
    titles = [title.strip("`") for title, _ in _ENTRY.findall(page(REFERENCE))]
    assert titles == re.findall(r"(?:─ |^    )(\w+Error)\b", str(exceptions.__doc__), re.MULTILINE)
