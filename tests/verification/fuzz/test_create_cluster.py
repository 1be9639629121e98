"""Generated create-cluster commands, compared with what the AWS CLI does with them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from airflow_eip_provider.awscli_import.aws_cli import refusal
from tests.unit.awscli_import.reference import AwsCli

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(find_spec("awscli") is None, reason="the extra import is not installed")

LEAST = ["emr", "create-cluster", "--region", "eu-west-1", "--release-label", "emr-7.5.0"]
NODES = [
    ["--instance-type", "m5.xlarge"],
    ["--instance-groups", "InstanceGroupType=MASTER,InstanceType=m5.xlarge,InstanceCount=1"],
]
OPTIONS = [
    *(["--name", "daily"], ["--log-uri", "s3://b/logs/"], ["--use-default-roles"], ["--service-role", "r"]),
    *(["--instance-count", "2"], ["--instance-count", "two"], ["--instance-fleets", "InstanceFleetType=MASTER"]),
    *(["--auto-terminate"], ["--no-auto-terminate"], ["--termination-protected"], ["--no-termination-protected"]),
    *(["--visible-to-all-users"], ["--no-visible-to-all-users"], ["--enable-debugging"], ["--ami-version", "3.1"]),
    *(["--tags", "a=b", "c"], ["--tags", ""], ["--applications", "Name=Spark"], ["--applications", "Spark"]),
    *(["--ec2-attributes", "KeyName=k,SubnetId=s"], ["--ec2-attributes", "SubnetId=s,SubnetIds=[t]"]),
    *(["--bootstrap-actions", "Path=s3://b/x.sh,Args=[a,b]"], ["--bootstrap-actions", "Name=x"]),
    *(["--steps", "Type=Spark,Name=s,Args=[--class,X,s3://b/x.jar]"], ["--steps", "Type=X,Jar=x"], ["--steps", "{"]),
    *(["--configurations", '[{"Classification":"spark","Properties":{}}]'], ["--configurations", "[]"]),
    *(["--configurations", "file://none.json"], ["--configurations", "https://x.example.com/c"], ["--emrfs", "x"]),
    *(["--auto-termination-policy", "IdleTimeout=60"], ["--auto-termination-policy", "IdleTimeout=x"]),
    *(["--managed-scaling-policy", "ComputeLimits={UnitType=Instances}"], ["--step-concurrency-level", "9"]),
    *(["--kerberos-attributes", "Realm=R,KdcAdminPassword=p"], ["--kerberos-attributes", "Realm=R"]),
    *(["--output", "text"], ["--output", "xml"], ["--query", "ClusterId"], ["--query", "a["], ["--debug", "x"]),
    *(["--endpoint-url", "x"], ["--endpoint-url", "https://x"], ["--profile", "p"], ["--color", "green"], ["--", "x"]),
    *(["--endpoint-url", "https://x:1"], ["--endpoint-url", "http://[::1]/"], ["--ca-bundle", "x"], ["--region", "x"]),
    *(["--cli-read-timeout", "x"], ["--cli-connect-timeout", "1"], ["--no-verify-ssl"], ["--no-sign-request"]),
    *(["--cli-input-json", "{}"], ["--generate-cli-skeleton"], ["--no-such"], ["help"], ["--version"], ["--inst", "x"]),
]
# Options of version 2 of the AWS CLI only; the reference is version 1.
OF_VERSION_2 = [["--no-cli-pager"], ["--cli-binary-format", "base64"], ["--cli-error-format", "json"]]
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    options = draw(st.lists(st.sampled_from(OPTIONS), max_size=5))
    words = [*LEAST, *draw(st.sampled_from(NODES)), *(word for option in options for word in option)]
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(2, len(words) - 1))
        changed = draw(st.sampled_from(["drop", "again", "text", "cut", "extend"]))
        word = {"cut": words[at][:-1], "extend": words[at] + draw(TEXT), "text": draw(TEXT)}.get(changed, words[at])
        words[at : at + 1] = [] if changed == "drop" else [word] * (2 if changed == "again" else 1)
    return words


@pytest.fixture(scope="module")
def aws_cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsCli]:
    cli = AwsCli(tmp_path_factory.mktemp("folder"))
    yield cli
    cli.close()


# A command takes a tenth of a second, and each one is run twice.
@settings(max_examples=max(20, settings.default.max_examples // 10))
@example(words=[*LEAST, *NODES[0], "--profile", "p"], of_version_2=[])
@example(words=[*LEAST, *NODES[0], "--endpoint-url", "https://"], of_version_2=[])
@example(words=[*LEAST, *NODES[0], "--tags", "a=b", "help"], of_version_2=[])
@example(words=[*LEAST, *NODES[0], "--name", "help"], of_version_2=[])
@example(words=[*LEAST[:2], "help"], of_version_2=[])
@example(words=[LEAST[0], "help"], of_version_2=[])
@given(words=commands(), of_version_2=st.lists(st.sampled_from(OF_VERSION_2), max_size=2))
def test_the_import_sends_and_refuses_what_the_aws_cli_sends_and_refuses(
    words: list[str], of_version_2: list[list[str]], aws_cli: AwsCli
) -> None:
    expected = aws_cli.ask(words)
    if "The config profile (" in expected["said"]:
        event("a profile that is not on this machine")  # the import does not read profiles
        return
    # Placed before the subcommand, where no other option can take them as its values.
    ours = aws_cli.ask([*(word for option in of_version_2 for word in option), *words], of="ours")

    assert json.dumps(ours["request"]) == json.dumps(expected["request"])
    event("sent" if ours["request"] else "refused")
    assert "Traceback" not in ours["said"]
    if ours["request"] is None and ours["status"]:
        error = refusal(ours["said"], ["aws", *words])
        assert error.remedy
        assert "Traceback" not in str(error)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--endpoint-url", ["https://", "https:///p", "x:8080", "https://a b", "https://x_y", "https://x:port", ""]),
        ("--endpoint-url", ["https://x:65536", "https://x:65535", "http://[::1", "http://[::1]:80/", "ftp://x"]),
        ("--region", ["", " ", "eu west", "EU", "eu-west-9", "x" * 80]),
        ("--cli-connect-timeout", ["x", "", "-1", "1.5", "1"]),
        ("--cli-read-timeout", ["x", "-1", "0"]),
        ("--ca-bundle", ["", " ", "none.pem"]),
        ("--query", ["", "bad[", "ClusterId"]),
        ("--output", ["", "nonsense", "text"]),
        ("--color", ["", "nonsense", "off"]),
    ],
)
def test_what_the_aws_cli_refuses_before_it_sends_is_refused(option: str, values: list[str], aws_cli: AwsCli) -> None:
    """Includes what botocore finds only when it makes the client or the request."""
    for value in values:
        words = [*LEAST, *NODES[0], option, value]
        expected, ours = aws_cli.ask(words), aws_cli.ask(words, of="ours")
        assert (value, ours["request"]) == (value, expected["request"])
        assert ours["request"] or refusal(ours["said"], ["aws", *words]).remedy
