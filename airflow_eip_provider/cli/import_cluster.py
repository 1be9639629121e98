"""``airflow-eip import-cluster``: convert an ``aws emr create-cluster`` command for Airflow."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.cli.arguments import StoreOnce, add_list, allocation_id_of
from airflow_eip_provider.cli.command import OK, WRONG, Command, Parser
from airflow_eip_provider.cli.output import note, only_the_result, print_document, progress
from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_eip_provider.awscli_import.aws_cli import RunJobFlow
    from airflow_eip_provider.awscli_import.job_flow import Imported

    Tell = Callable[[str], None]

DESCRIPTION = """\
Convert an "aws emr create-cluster" command, with the files that it refers to, and print its job_flow_overrides: the
parameters of RunJobFlow as JSON, as the AWS CLI would send them, but without the bootstrap action that associates an
Elastic IP. With --dag, print a DAG that runs the cluster with the address, and its steps. What was changed is listed on
standard error.

The command launches nothing and does not call AWS. It needs no credentials, and it does not use the configuration of
the AWS CLI, such as profiles. The code of the AWS CLI parses the command, so the package awscli, version 1, must be
installed."""

EXAMPLES = r"""
# Print the parameters for the operator as JSON
airflow-eip import-cluster -- aws emr create-cluster \
    --release-label emr-7.5.0 --use-default-roles --instance-type m5.xlarge
# Convert the command in a script to a DAG
airflow-eip import-cluster --dag --parameters parametersValues.json \
    --output dags/signals.py --file launch.sh"""

_SET_BY_CONNECTION = "the Airflow connection determines how AWS is called"
_WHY_IGNORED = {
    "--profile": "the credentials are those of the Airflow connection",
    "--endpoint-url": _SET_BY_CONNECTION,
    "--ca-bundle": _SET_BY_CONNECTION,
    "--no-verify-ssl": _SET_BY_CONNECTION,
    "--no-sign-request": _SET_BY_CONNECTION,
    "--cli-read-timeout": _SET_BY_CONNECTION,
    "--cli-connect-timeout": _SET_BY_CONNECTION,
    "--cli-binary-format": "it determines how the AWS CLI reads binary values, and create-cluster has none",
}
_FOR_A_DAG = ("parameters", "allocation_id", "dag_id", "schedule")


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--file",
        metavar="FILE",
        help="a file that contains the command, such as a shell script; it is not executed",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the result to this file (default: print it)")
    parser.add_argument("--dag", action="store_true", help="print a DAG instead of JSON")
    parser.add_argument(
        "--parameters", metavar="FILE", help="a parametersValues.json, whose allocationID is the Elastic IP of the DAG"
    )
    parser.add_argument(
        "--allocation-id", action=StoreOnce, metavar="ID", help="the Elastic IP of the DAG, instead of --parameters"
    )
    parser.add_argument("--dag-id", metavar="ID", help="the ID of the DAG (default: made from the cluster's name)")
    parser.add_argument(
        "--schedule",
        metavar="TEXT",
        help="the schedule of the DAG: a cron expression, or a preset such as @daily (default: none)",
    )
    add_list(
        parser,
        "--script",
        "FILE",
        "a copy of the script of a bootstrap action, with the same file name; "
        "it is read to find out whether it associates the address",
    )
    parser.add_argument(
        "--python",
        metavar="PYTHON",
        help="a Python interpreter that has the package awscli (default: the one that runs this command)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object with the result and the messages of standard error"
    )
    parser.add_argument(
        "create_cluster",
        nargs=argparse.REMAINDER,
        metavar="-- aws emr create-cluster ...",
        help="the command, instead of --file",
    )


def run(options: argparse.Namespace) -> int:
    """Convert the command, and list what was changed."""
    notes: list[str] = []

    def tell(text: str) -> None:
        notes.append(text)
        note(text)

    with only_the_result():
        result = _convert(options, tell)
    json_key = "dag" if options.dag else "job_flow_overrides"
    print_document(result, options.output, json_key=json_key if options.json else "", notes=notes)
    return OK


def _convert(options: argparse.Namespace, tell: Tell) -> str | dict[str, Any]:
    from airflow_eip_provider.awscli_import.aws_cli import run_job_flow_of
    from airflow_eip_provider.awscli_import.job_flow import placeholders_in, without_association

    _check_dag_options(options)
    command, notes = _command(options)
    allocation_id = allocation_id_of(options)
    if options.dag and allocation_id is None:
        remedy = "give --parameters or --allocation-id"
        raise UsageError("generating a DAG", problem="no Elastic IP is named", remedy=remedy)
    scripts = _scripts(options.script)
    progress("running the AWS CLI")
    sent = run_job_flow_of(command, python=options.python)
    for text in notes:
        tell(text)
    tell(f"converted the request of AWS CLI {sent.version} to region {sent.region}")
    for option in sent.ignored:
        tell(f"{option} is ignored: {_WHY_IGNORED.get(option, 'it determines what the AWS CLI prints')}")
    for text in placeholders_in(sent.request):
        tell(f"{text} looks like a placeholder: replace it with your value")
    imported = without_association(sent.request, scripts=scripts)
    return _dag(imported, sent, str(allocation_id), options, tell) if options.dag else _overrides(imported, tell)


def _overrides(imported: Imported, tell: Tell) -> dict[str, Any]:
    for text in imported.notes:
        tell(text)
    if imported.overrides.get("Steps"):
        tell(
            "Steps: EmrCreateWithStaticIpOperator takes none; move them to EmrAddStepsWithStaticIpOperator (--dag does)"
        )
    if not imported.overrides["Instances"]["KeepJobFlowAliveWhenNoSteps"]:
        tell("KeepJobFlowAliveWhenNoSteps is false: EmrCreateWithStaticIpOperator needs true (--dag sets it)")
    return imported.overrides


def _dag(imported: Imported, sent: RunJobFlow, allocation_id: str, options: argparse.Namespace, tell: Tell) -> str:
    from airflow_eip_provider.awscli_import.dag import DagOptions, dag_id_of, dag_source, password_variable
    from airflow_eip_provider.awscli_import.job_flow import for_a_dag
    from airflow_eip_provider.preflight.node_pools import node_counts

    imported = for_a_dag(imported)
    primaries, others = node_counts(imported.overrides["Instances"])
    if primaries != 1:
        problem = f"the cluster has {primaries} primary nodes, but an address can be on only one"
        raise UsageError("generating a DAG", problem=problem, remedy="configure exactly one MASTER instance")
    dag_id = options.dag_id or dag_id_of(imported.overrides["Name"])
    for text in imported.notes:
        tell(text)
    if others:
        tell(f"on_multi_node is warn: {others} core or task nodes connect from other addresses than the Elastic IP")
    for name in imported.passwords:
        tell(f"{name} is not in the DAG: store it in the Airflow Variable {password_variable(dag_id, name)}")
    return dag_source(
        imported,
        DagOptions(
            dag_id=dag_id,
            allocation_id=allocation_id,
            region=sent.region,
            schedule=options.schedule,
            start=clock.now().date(),
            multi_node=others > 0,
        ),
    )


def _check_dag_options(options: argparse.Namespace) -> None:
    from airflow_eip_provider.awscli_import.dag import is_dag_id, is_schedule

    given = [name for name in _FOR_A_DAG if getattr(options, name) is not None]
    if given and not options.dag:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"reading {flags}", problem="it needs --dag", remedy="add --dag, or omit it")
    if options.dag_id is not None and not is_dag_id(options.dag_id):
        problem = f"{options.dag_id!r} is not a valid DAG ID"
        remedy = "use 1 to 250 letters, digits, dashes, dots and underscores"
        raise UsageError("reading --dag-id", problem=problem, remedy=remedy)
    if options.schedule is not None and not is_schedule(options.schedule):
        problem = f"{options.schedule!r} is neither a cron expression nor a preset of Airflow"
        remedy = "give 5 or 6 fields, as in '0 6 * * *', or @daily; omit it for a DAG without a schedule"
        raise UsageError("reading --schedule", problem=problem, remedy=remedy)


def _command(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return the words of the command, and notes about what was omitted from its file."""
    from airflow_eip_provider.awscli_import.shell import read_command

    words = list(options.create_cluster)
    if words[:1] == ["--"]:
        words = words[1:]
    if bool(words) == bool(options.file):
        problem = "it is given twice" if words else "it is missing"
        raise UsageError("reading the command", problem=problem, remedy="give it after --, or in a file with --file")
    if words:
        return words, []
    command = read_command(_text(options.file))
    return command.arguments, command.notes


def _scripts(files: Sequence[str]) -> dict[str, str]:
    """Return the texts by file name."""
    texts: dict[str, str] = {}
    for file in files:
        name = Path(file).name
        if name in texts:
            problem = f"another --script has the file name '{name}'"
            raise UsageError(f"reading --script '{file}'", problem=problem, remedy="give one of them")
        texts[name] = _text(file)
    return texts


def _text(file: str) -> str:
    if file.startswith("s3://"):
        raise UsageError(f"reading '{file}'", problem="it is in S3", remedy=f"download it first: aws s3 cp {file} .")
    try:
        return Path(file).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"reading '{file}'", problem=str(error), remedy="name a text file") from error


COMMAND = Command(
    "import-cluster",
    "convert an aws emr create-cluster command to a DAG",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        WRONG: "invalid arguments, such as an option that the AWS CLI does not know",
    },
)
