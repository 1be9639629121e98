"""``airflow-eip import-cluster``: from a command to a DAG that runs on the local EMR."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.awscli_import.aws_cli import run_job_flow_of
from airflow_eip_provider.awscli_import.shell import arguments_of
from harness.life import Task
from tests.unit.awscli_import.commands import (
    ALLOCATION,
    ALONE,
    ASSOCIATING_SCRIPT,
    COMMANDS,
    GROUPS,
    PARAMETERS,
    SIGNALS,
    START,
    SUBNET,
    Command,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


pytestmark = [
    pytest.mark.skipif(find_spec("awscli") is None, reason="the extra import is not installed"),
    pytest.mark.usefixtures("quick_import"),
]

LEAST = (
    "aws emr create-cluster --name Daily --release-label emr-7.5.0 --use-default-roles --instance-type m5.xlarge "
    "--region eu-west-1"
)
PARSE = """
import json, sys
try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow < 3.2
    from airflow.models.dagbag import DagBag
import socket
def refuse(*arguments, **options):
    raise AssertionError(f"network at parse time: {arguments}")
socket.getaddrinfo = refuse
bag = DagBag(sys.argv[1])
tasks = {dag_id: dag.task_ids for dag_id, dag in bag.dags.items()}
print("\\n" + json.dumps({"errors": bag.import_errors, "tasks": tasks}))
"""
# Without the one that has three primary nodes, which an address does not support.
WITH_DAGS = sorted(COMMANDS.keys() - {"placement"})


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]) -> Callable[..., Any]:
    """Write a command and its files, run ``import-cluster`` in their folder, and return (status, out, err)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parametersValues.json").write_text(json.dumps(PARAMETERS))
    (tmp_path / "bootstrap.sh").write_text(ASSOCIATING_SCRIPT)

    def convert(*arguments: str, command: Any = SIGNALS, ids: dict[str, str] | None = None) -> Any:
        command.write(tmp_path, ids=ids)
        said = run("import-cluster", *arguments)
        return said.status, said.out, said.err

    return convert


@pytest.mark.new_python
def test_json_is_what_the_aws_cli_sends(imported):
    status, out, err = imported("--file", "launch.sh")
    assert status == 0
    assert json.loads(out) == run_job_flow_of(arguments_of(SIGNALS.text)).request
    assert "bootstrap action 'Bootstrap Actions' (s3://signals/bootstrap.sh) stays" in err
    assert "Steps: EmrCreateWithStaticIpOperator takes none" in err


def test_command_after_two_dashes_is_the_same_as_in_a_file(imported):
    by_file = imported("--file", "launch.sh")
    assert imported("--", *arguments_of(SIGNALS.text)) == by_file
    assert imported(*arguments_of(SIGNALS.text)) == by_file


def test_association_is_left_out_when_its_script_is_shown(imported):
    _, out, err = imported("--file", "launch.sh", "--script", "bootstrap.sh")
    whole = run_job_flow_of(arguments_of(SIGNALS.text)).request
    del whole["BootstrapActions"]
    assert json.loads(out) == whole
    assert "is left out: its script names internetprotocol-jar-with-dependencies.jar" in err


def test_each_ignored_option_is_reported_with_its_reason(imported):
    options = "--profile mine --endpoint-url https://emr.example.com --output text"
    _, _, err = imported("--", *START.split(), *ALONE.split(), *options.split())
    assert "--profile is ignored: the credentials are those of the Airflow connection" in err
    assert "--endpoint-url is ignored: the Airflow connection determines how AWS is called" in err
    assert "--output is ignored: it determines what the AWS CLI prints" in err


@pytest.mark.airflow
def test_every_dag_parses_and_is_formatted(imported, tmp_path, airflow_home):
    airflow = airflow_home(tmp_path)
    dags = airflow.dags
    for name in WITH_DAGS:
        output = str(dags / f"{name.replace(' ', '_')}.py")
        options = ["--dag", "--file", "launch.sh", "--parameters", "parametersValues.json", "--output", output]
        status, out, err = imported(*options, command=COMMANDS[name])
        assert (status, out) == (0, ""), err
    (tmp_path / "parse.py").write_text(PARSE)

    found = json.loads(airflow.run(tmp_path / "parse.py", dags).splitlines()[-1])

    assert found["errors"] == {}
    assert len(found["tasks"]) == len(WITH_DAGS)
    assert sorted(found["tasks"]["steps"]) == [
        f"cluster.{n}" for n in ("bound", "create", "done", "steps", "terminate")
    ]
    for length in ("88", "120"):
        ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--check", "--line-length", length, str(dags)]
        assert subprocess.run(ruff, capture_output=True, check=False).returncode == 0


@pytest.fixture
def run_dag(clocked: Any) -> Callable[[Path], Any]:
    """Run the tasks of a DAG file in their order, on the local EMR; return the ID of the cluster."""

    def run(path: Path) -> str:
        module = runpy.run_path(str(path))
        dag = module["cluster"].dag
        job_flow_id = None
        for task_id in ("create", "bound", "steps", "terminate"):
            if f"cluster.{task_id}" not in dag.task_ids:
                continue
            operator = dag.get_task(f"cluster.{task_id}").prepare_for_execution()
            if job_flow_id:
                operator.job_flow_id = job_flow_id
            context = {"dag": dag, "run_id": "run-1"}
            operator.aws_conn_id = None
            operator.render_template_fields(context)
            result = Task(operator, dag_id=dag.dag_id).run()
            job_flow_id = job_flow_id or result
        return str(job_flow_id)

    return run


@pytest.mark.parametrize("name", ["signals", "steps", "core nodes", "step shorthand"])
def test_dag_runs_and_sends_what_the_command_did(name, imported, run_dag, clocked, ec2, emr, tmp_path):
    subnet = ec2.describe_subnets()["Subnets"][0]
    about = {"Description": "of EMR", "VpcId": subnet["VpcId"]}
    groups = {known: ec2.create_security_group(GroupName=known, **about)["GroupId"] for known in GROUPS}
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
    emr.create_security_configuration(Name="Secure EMR S3 Access", SecurityConfiguration="{}")
    (tmp_path / "parametersValues.json").write_text(json.dumps({**PARAMETERS, "allocationID": allocation_id}))
    options = ["--dag", "--file", "launch.sh", "--parameters", "parametersValues.json", "--output", "dag.py"]
    if name == "signals":
        options += ["--script", "bootstrap.sh"]
    status, _, err = imported(*options, command=COMMANDS[name], ids={SUBNET: subnet["SubnetId"], **groups})
    assert status == 0, err
    expected = run_job_flow_of(arguments_of((tmp_path / "launch.sh").read_text())).request
    if name == "signals":
        del expected["BootstrapActions"]
    expected["Instances"]["KeepJobFlowAliveWhenNoSteps"] = True
    expected.setdefault("AutoTerminationPolicy", {"IdleTimeout": 3600})
    steps, role = expected.pop("Steps", []), expected.pop("StepExecutionRoleArn", None)

    job_flow_id = run_dag(tmp_path / "dag.py")

    (sent,) = [call["request"] for call in clocked.events.calls("RunJobFlow")]
    tags = [tag for tag in sent["Tags"] if not tag["Key"].startswith("airflow-eip:")]
    assert {**sent, "Tags": tags} == expected
    added = [call["request"] for call in clocked.events.calls("AddJobFlowSteps")]
    assert [step["HadoopJarStep"] for call in added for step in call["Steps"]] == [s["HadoopJarStep"] for s in steps]
    assert [call.get("ExecutionRoleArn") for call in added] == [role] * bool(steps)
    associated = [c["request"] for c in clocked.events.calls("AssociateAddress") if c["status"] == 200]
    assert [request["AllocationId"] for request in associated if "DryRun" not in request] == [allocation_id]
    assert emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]["State"] in {"TERMINATING", "TERMINATED"}
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]


# Scripts as users write them, and the part of the request that shows how they are read.
CASES = {
    "redirection": (
        (
            "aws emr create-cluster --name Daily --release-label emr-7.5.0 --use-default-roles \\\n"
            "  --instance-type m5.xlarge --instance-count 1 --region eu-west-1 \\\n"
            "  --tags Owner=team Purpose=etl > cluster.json\n"
        ),
        {"Tags": [{"Key": "Owner", "Value": "team"}, {"Key": "Purpose", "Value": "etl"}]},
        "line 3: '> cluster.json' is left out",
    ),
    "semicolon": (
        (
            "aws emr create-cluster --name Daily --use-default-roles --instance-type m5.xlarge \\\n"
            "  --region eu-west-1 --release-label emr-7.5.0;\n"
        ),
        {"ReleaseLabel": "emr-7.5.0"},
        "line 2: ';' is left out",
    ),
    "pipe": (f"{LEAST} \\\n  | tee id.json\n", {"Name": "Daily"}, "line 2: '| tee id.json' is left out"),
    "captured": (
        f"#!/bin/bash\nid=$({LEAST} --query ClusterId --output text)\n",
        {"Name": "Daily"},
        "line 2: 'id=$(' is left out",
    ),
    "captured, sibling": (
        f'readonly id="$({LEAST} --query ClusterId \\\n --output text)"\necho "$id"\n',
        {"Name": "Daily"},
        "line 3: 'echo \"$id\"' is left out",
    ),
    "version 2": (
        LEAST.replace("aws emr", "aws --no-cli-pager emr"),
        {"Name": "Daily"},
        "--no-cli-pager is ignored: it determines what the AWS CLI prints",
    ),
    "version 2, sibling": (
        f"{LEAST} --output yaml --cli-binary-format raw-in-base64-out --no-cli-auto-prompt",
        {"Name": "Daily"},
        "--cli-binary-format is ignored: it determines how the AWS CLI reads binary values",
    ),
    "version 1, siblings": (
        f"{LEAST} --no-verify-ssl --cli-read-timeout 10",
        {"Name": "Daily"},
        "--no-verify-ssl is ignored: the Airflow connection determines how AWS is called",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_scripts_as_they_are_found_are_read(case, imported):
    text, part, said = CASES[case]
    status, out, err = imported("--file", "launch.sh", command=Command(text))
    assert status == 0, err
    request = json.loads(out)
    assert {name: request[name] for name in part} == part
    assert said in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            (
                f"{START} --name Daily \\\n  --instance-groups {ALONE.split()[1]}\n"
                "InstanceGroupType=CORE,InstanceCount=2 \\\n"
                "  --ec2-attributes KeyName=ops\n"
            ),
            ("line 3: the command ends with line 2, and 'InstanceGroupType=CORE,InstanceCount=2"),
        ),
        (
            f"{LEAST} \\\n  --configurations https://b.s3.eu-west-1.amazonaws.com/spark.json\n",
            "download it (curl --remote-name 'https://b.s3.eu-west-1.amazonaws.com/spark.json'), and give it as file://NAME",
        ),
        (
            "aws emr create-cluster --cli-input-json file://cluster.json --region eu-west-1\n",
            (
                "no version of the AWS CLI has --cli-input-json for create-cluster; write options, or, if you have "
                "RunJobFlow's parameters as JSON, use them as job_flow_overrides"
            ),
        ),
        (
            f"{LEAST} ^\r\n  --tags Owner=team ^\r\n  --use-default-roles\r\n",
            "line 1: it ends with ^, with which cmd.exe continues a line; end each line with a backslash (\\) instead",
        ),
        (
            f"{LEAST} `\n  --tags Owner=team `\n  --use-default-roles\n",
            "line 1: it ends with `, with which PowerShell continues a line; end each line with a backslash (\\)",
        ),
        (
            LEAST.replace("Daily", "$'Daily\\tjob'"),
            "line 1: a shell would translate $'Daily\\tjob'; write its text in single quotes",
        ),
        (
            f"{LEAST} --ec2-attributes KeyName=<YOUR_KEY>",
            "line 1: <YOUR_KEY> is a placeholder; replace it with your value, without < and >",
        ),
        (f"{LEAST} \\\n --log-uri s3://$BUCKET/l", "line 2: a shell would substitute $BUCKET; write the value"),
    ],
)
def test_refused_scripts_get_a_remedy(text, said, imported):
    status, out, err = imported("--file", "launch.sh", command=Command(text))
    assert (status, out) == (2, "")
    assert said in err


def test_placeholder_that_quotes_or_a_file_hide_is_named(imported):
    command = Command(
        f"{LEAST} --ec2-attributes 'KeyName=<YOUR_KEY>' --tags file://tags.json", {"tags.json": ["Owner=<your-team>"]}
    )
    status, out, err = imported("--file", "launch.sh", command=command)
    assert status == 0
    assert json.loads(out)["Instances"]["Ec2KeyName"] == "<YOUR_KEY>"
    assert "<YOUR_KEY> looks like a placeholder: replace it with your value" in err
    assert "<your-team> looks like a placeholder: replace it with your value" in err


def test_script_that_run_if_runs_shows_that_the_action_associates(imported, tmp_path):
    (tmp_path / "address.sh").write_text(
        '#!/bin/bash\naws ec2 associate-address --instance-id "$1" --allocation-id "$2"\n'
    )
    run_if = "Name=Address,Path=s3://elasticmapreduce/bootstrap-actions/run-if"
    given = f'{run_if},Args=["instance.isMaster=true",s3://bucket/address.sh]'
    command = Command(f"{LEAST} \\\n  --bootstrap-actions {given}\n")

    _, out, err = imported("--file", "launch.sh", "--script", "address.sh", command=command)
    assert "BootstrapActions" not in json.loads(out)
    assert "is left out: its script names associate-address" in err

    _, out, err = imported("--file", "launch.sh", command=command)
    assert json.loads(out)["BootstrapActions"][0]["ScriptBootstrapAction"] == {
        "Path": "s3://elasticmapreduce/bootstrap-actions/run-if",
        "Args": ["instance.isMaster=true", "s3://bucket/address.sh"],
    }
    assert "bootstrap action 'Address' (s3://elasticmapreduce/bootstrap-actions/run-if) stays" in err


def test_passwords_are_not_written_into_the_dag(imported):
    status, out, err = imported(
        "--dag", "--file", "launch.sh", "--allocation-id", ALLOCATION, command=COMMANDS["kerberos"]
    )
    assert status == 0
    assert "a,b" not in out + err
    assert '"KdcAdminPassword": "{{ var.value.get(\'kerberos_kdc_admin_password\') }}"' in out
    assert "store it in the Airflow Variable kerberos_ad_domain_join_password" in err


def test_the_dag_has_the_given_name_and_schedule(imported):
    _, out, _ = imported("--dag", "--allocation-id", ALLOCATION, "--file", "launch.sh")
    assert '        "daily_signals",\n        schedule=None,\n' in out
    options = ["--dag-id", "signals", "--schedule", "@daily", "--allocation-id", ALLOCATION, "--file", "launch.sh"]
    _, out, _ = imported("--dag", *options)
    assert '        "signals",\n        schedule="@daily",\n' in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "reading the command: it is missing"),
        (["--file", "launch.sh", "--", "aws"], "reading the command: it is given twice"),
        (["--file", "none.sh"], "none.sh"),
        (["--file", "launch.sh", "--script", "none.sh"], "none.sh"),
        (
            ["--file", "launch.sh", "--output", "none/x.json"],
            "error: writing 'none/x.json': No such file or directory; name",
        ),
        (
            ["--file", "launch.sh", "--schedule", "@daily", "--dag-id", "x"],
            "reading --dag-id, --schedule: it needs --dag",
        ),
        (
            ["--file", "launch.sh", "--parameters", "parametersValues.json"],
            "reading --parameters: it needs --dag; add --dag",
        ),
        (["--file", "launch.sh", "--allocation-id", ALLOCATION], "reading --allocation-id: it needs --dag"),
        (["--dag", "--dag-id", "bad id!"], "reading --dag-id: 'bad id!' is not a valid DAG ID"),
        (["--dag", "--schedule", "0 0 * *"], "reading --schedule: '0 0 * *' is neither a cron expression nor a preset"),
        (["--file", "launch.sh", "--output", "."], "error: writing '.': Is a directory; name a file"),
        (["--file", "launch.sh", "--script", "launch.sh"], "their paths are: s3://signals/bootstrap.sh; give the copy"),
        (
            ["--file", "launch.sh", *["--script", "bootstrap.sh"] * 2],
            "another --script has the file name 'bootstrap.sh'",
        ),
        (
            ["--file", "launch.sh", "--script", "s3://b/x.sh"],
            "reading 's3://b/x.sh': it is in S3; download it first: aws s3",
        ),
        (["--dag", "--file", "launch.sh"], "no Elastic IP is named; give --parameters or --allocation-id"),
        (["--dag", "--file", "launch.sh", "--parameters", "none.json"], "none.json"),
        (["--dag", "--file", "launch.sh", "--allocation-id", "203.0.113.7"], "allocation_id '203.0.113.7'"),
        (
            ["--dag", "--file", "launch.sh", "--parameters", "parametersValues.json", "--allocation-id", "eipalloc-1"],
            "--allocation-id is 'eipalloc-1', and allocationID in --parameters is 'eipalloc-0123456789abcdef0'",
        ),
        (["--", *START.split(), *ALONE.split(), "--no-such-option"], "Unknown options: --no-such-option"),
        (
            [
                "--dag",
                "--allocation-id",
                ALLOCATION,
                "--",
                *START.split(),
                "--instance-groups",
                "InstanceGroupType=MASTER,InstanceType=m5.xlarge,InstanceCount=3",
            ],
            "the cluster has 3 primary nodes",
        ),
    ],
)
def test_wrong_arguments_end_with_status_2_and_are_named(arguments, said, imported, local_aws):
    status, out, err = imported(*arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert local_aws.events.calls() == []


def test_bad_parameters_end_with_status_2_before_anything_is_written(imported, tmp_path):
    (tmp_path / "parametersValues.json").write_text('{"clusterVPCID": "vpc-0123456789abcdef0"}')
    options = ["--dag", "--file", "launch.sh", "--parameters", "parametersValues.json", "--output", "dag.py"]
    status, _, err = imported(*options)
    assert status == 2
    assert "key 'allocationID' is missing" in err
    assert not (tmp_path / "dag.py").exists()
