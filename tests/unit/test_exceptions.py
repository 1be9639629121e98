from __future__ import annotations

import inspect
import pickle

import pytest

from airflow_eip_provider import exceptions

EXAMPLES = [
    exceptions.InvalidInputError("checking x", problem="wrong", remedy="right"),
    exceptions.UsageError("reading the command", problem="wrong", remedy="right"),
    exceptions.AddressNotFoundError("eipalloc-1", region="eu-west-1"),
    exceptions.PreflightError("eipalloc-1", ["subnet 'subnet-1': gone; no cluster; another", "quota: low; no; more"]),
    exceptions.NotPermittedError("ec2:AssociateAddress", resource="eipalloc-1"),
    exceptions.MissingConnectionError("aws_1"),
    exceptions.CredentialsExpiredError("aws_1", problem="ExpiredToken"),
    exceptions.MissingExtraError("azure", doing="using Azure's API", module="azure.mgmt.sql"),
    exceptions.AzureRefusedError("reading rules", code="AuthorizationFailed", problem="no", remedy="grant it"),
    exceptions.AzureUnavailableError("reading rules", problem="429"),
    exceptions.LivyRefusedError("submitting", status=400, problem="no file", remedy="give one"),
    exceptions.LivyUnavailableError("looking for Livy batch 'daily'", problem="503"),
    exceptions.BatchLostError("daily", batch_id=3, app_id="application_1_1", server="http://10.0.1.5", seconds=120.0),
    exceptions.BatchFailedError("daily", batch_id=3, app_id=None, state="dead"),
    exceptions.FirewallRuleConflictError("eip", server="sales", admits="203.0.113.1", public_ip="203.0.113.2"),
    exceptions.NotBoundError("eipalloc-1", job_flow_id="j-1", place="not associated"),
    exceptions.AddressLostError(
        "eipalloc-1", job_flow_id="j-1", place="on instance 'i-1'", consequence="cancelled s-1"
    ),
    exceptions.AddressBusyError("eipalloc-1", holder="cluster 'j-2'", waited_seconds=60),
    exceptions.WaitTimeoutError("cluster 'j-1'", last_seen="STARTING", bound="waiter_delay"),
    exceptions.ClusterEndedError("j-1", state="TERMINATED", reason="no capacity"),
    exceptions.StartTimeoutError("j-1", state="STARTING", reason="EMR gives no reason", seconds=2700),
    exceptions.NoCandidateStartedError(
        "eipalloc-1",
        attempts=[
            {
                "candidate": 0,
                "subnet": "subnet-a",
                "instance_type": "m5.xlarge",
                "job_flow_id": "j-1",
                "outcome": "start_timeout",
                "reason": "not started in time",
            }
        ],
    ),
    exceptions.NotKnownYetError("eni-1"),
    exceptions.KilledError("eipalloc-1"),
    exceptions.GatewayFailedError(
        "nat-1", allocation_id="eipalloc-1", code="Gateway.NotAttached", problem="no gateway"
    ),
    exceptions.LaunchUnclearError("daily", owner="prod/dag", problem="timeout"),
    exceptions.NotLeasedError("eipalloc-1", job_flow_id="j-1", condition="not leased"),
    exceptions.LockStoreError("s3://leases", problem="it does not exist", remedy="create it"),
    exceptions.LockStoreNotCreatedError("dynamodb://leases?create=true", region="eu-west-1"),
    exceptions.LockStoreUnavailableError("s3://leases", problem="503"),
    exceptions.RecordContendedError("s3://leases", writes=40, seconds=300.0),
    exceptions.QueueFullError("s3://leases", waiting=4000, size=300_001, most=300_000),
    exceptions.NewerRecordError("s3://leases", schema=2, known=1),
    exceptions.CorruptRecordError("s3://leases", problem="no JSON"),
    exceptions.LeaseLostError("eipalloc-1", problem="token 1 is not current"),
    exceptions.SupersededError("eipalloc-1", problem="a newer try of this task is at work"),
    exceptions.StepFailedError("j-1", step_id="s-1", name="read", state="FAILED", reason="exit 1"),
    exceptions.SubmissionCancelledError("eipalloc-1", job_flow_id="j-1", place="not associated", step_ids=["s-1"]),
    exceptions.ReapingFailedError(["cluster j-1: AccessDenied"]),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_survives_pickling_with_its_message_and_ids(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_names_the_problem_and_the_remedy(error):
    assert ": " in str(error)
    assert "; " in str(error)


def test_all_and_the_drawn_tree_name_every_error():
    defined = {name for name, cls in vars(exceptions).items() if inspect.isclass(cls) and issubclass(cls, Exception)}
    assert defined == set(exceptions.__all__)
    for name in defined:
        assert name in exceptions.__doc__


def test_every_leaf_is_tried_here():
    bases = {exceptions.ElasticIpError, exceptions.PermanentError, exceptions.TransientError}
    defined = {getattr(exceptions, name) for name in exceptions.__all__} - bases
    assert {type(error) for error in EXAMPLES} == defined
