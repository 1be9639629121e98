"""How arguments name one or several Elastic IPs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from airflow_eip_provider import __version__
from airflow_eip_provider.cli.__main__ import main
from airflow_eip_provider.cli.arguments import named_addresses
from airflow_eip_provider.cli.commands import COMMANDS
from airflow_eip_provider.cli.parsers import make_parser
from airflow_eip_provider.exceptions import UsageError

A, B = "eipalloc-0123456789abcdef0", "eipalloc-0123456789abcdef1"
POOLS = ("audit", "doctor", "history", "iam-policy", "release", "status", "wait")
REQUIRED = {
    "audit": ["--logs", "s3://logs/vpc", "--database", "10.0.0.1"],
    "iam-policy": ["--service-role", "arn:aws:iam::123456789012:role/R", "--instance-role", "arn:aws:iam::1:role/R"],
    "selftest": ["--subnet-id", "subnet-0123456789abcdef0"],
    "drill": ["--job-flow-id", "j-1"],
}


def parsed(*arguments: str, command: str = "status"):
    return make_parser().parse_args([command, *REQUIRED.get(command, []), *arguments])


@pytest.mark.parametrize("command", POOLS)
def test_all_commands_take_several_addresses_and_tags_in_the_same_way(command):
    named = named_addresses(
        parsed("--allocation-id", B, "--tag", "purpose=sql", "--allocation-id", A, "--tag", "a=b=c", command=command)
    )
    assert named.allocation_ids == (B, A)
    assert named.tags == {"purpose": ["sql"], "a": ["b=c"]}
    assert named.is_pool


def test_values_of_one_tag_are_alternatives():
    assert named_addresses(parsed("--tag", "purpose=a", "--tag", "purpose=b")).tags == {"purpose": ["a", "b"]}


@pytest.mark.parametrize(
    ("given", "is_pool"),
    [
        (["--allocation-id", A], False),
        (["--allocation-id", A, "--allocation-id", A], False),
        (["--allocation-id", A, "--allocation-id", B], True),
        (["--tag", "purpose=sql"], True),
    ],
)
def test_the_form_of_the_result_follows_from_the_arguments(given, is_pool):
    assert named_addresses(parsed(*given)).is_pool is is_pool


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no Elastic IP is named; give --allocation-id, --tag or --parameters"),
        (["--allocation-id", A, "--allocation-id", "203.0.113.7"], "203.0.113.7"),
        (["--tag", "purpose"], "'purpose' is not a tag with a value"),
        (["--tag", "=azure-sql"], "'=azure-sql' is not a tag with a value"),
        (["--tag", "purpose="], "'purpose=' is not a tag with a value"),
    ],
)
def test_what_names_no_address_is_a_wrong_argument(given, said):
    with pytest.raises(UsageError, match=said):
        named_addresses(parsed(*given))


@pytest.mark.parametrize("given", [["--allocation-id", B], ["--allocation-id", A, "--tag", "x=y"], ["--tag", "x=y"]])
def test_a_parameters_file_names_one_address_and_nothing_else_does_besides(tmp_path, given):
    path = tmp_path / "parametersValues.json"
    path.write_text(json.dumps({"allocationID": A, "clusterVPCID": "vpc-01234567"}))
    assert named_addresses(parsed("--parameters", str(path), "--allocation-id", A)).allocation_ids == (A,)
    with pytest.raises(UsageError, match="give one"):
        named_addresses(parsed("--parameters", str(path), *given))


@pytest.mark.parametrize("command", ["drill", "selftest", "import-cluster"])
def test_a_command_that_is_about_one_address_takes_no_second_one(command, capsys):
    assert parsed("--allocation-id", A, "--allocation-id", A, command=command).allocation_id == A
    with pytest.raises(SystemExit) as ended:
        parsed("--allocation-id", A, "--allocation-id", B, command=command)
    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"argument --allocation-id: this command takes only one, but {A} and {B} are given" in said


def test_every_command_that_names_an_address_either_takes_several_or_refuses_them():
    class Declared:
        def __init__(self):
            self.actions = {}

        def add_argument(self, *flags, **options):
            self.actions[flags[0]] = options.get("action")

    for command in COMMANDS:
        declared = Declared()
        command.add_arguments(declared)
        if "--allocation-id" in declared.actions:
            assert (declared.actions["--allocation-id"] == "append") is (command.name in POOLS)
            assert declared.actions["--allocation-id"] is not None


def test_doctor_and_iam_policy_take_the_names_of_each_other():
    subnet, table = "subnet-0123456789abcdef0", "rtb-0123456789abcdef0"
    for suffix in ("", "-id"):
        given = ["--allocation-id", A, f"--public-subnet{suffix}", subnet, f"--route-table{suffix}", table]
        doctor, policy = parsed(*given, command="doctor"), parsed(*given, command="iam-policy")
        assert (doctor.public_subnet_id, doctor.route_table_id) == (subnet, [table])
        assert (policy.public_subnet, policy.route_table) == ([subnet], [table])


def test_an_unknown_option_shows_the_usage_of_its_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["history", "--allocation-id", A, "--bogus"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.lower().startswith("usage: airflow-eip history ")
    assert said.endswith("airflow-eip history: error: unrecognized arguments: --bogus\n")


def test_the_package_runs_the_commands():
    command = [sys.executable, "-m", "airflow_eip_provider", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{__version__}\n"
