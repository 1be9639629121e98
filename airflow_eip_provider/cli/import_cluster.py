"""``airflow-eip import-cluster``: what an ``aws emr create-cluster`` command sends, as a DAG or for one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.cli.address import OnlyOne
from airflow_eip_provider.cli.command import OK, WRONG, Command, Parser
from airflow_eip_provider.cli.output import (
    as_text,
    note,
    only_the_result,
    print_json,
    progress,
    write_or_print,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_eip_provider.awscli_import.aws_cli import RunJobFlow
    from airflow_eip_provider.awscli_import.job_flow import Imported

    Tell = Callable[[str], None]

DESCRIPTION = """\
Read an "aws emr create-cluster" command with the files that it names, and print its job_flow_overrides: the parameters
of RunJobFlow as JSON, exactly what the AWS CLI sends, without the bootstrap action that associates an Elastic IP. With
--dag print a DAG that runs the cluster with the address and its steps. What was changed is said on standard error.

Nothing is launched, and AWS is not asked: no credentials are needed, and settings of the AWS CLI, such as a profile,
are not read. The AWS CLI's own code reads the command: it needs the package awscli, version 1."""

EXAMPLES = r"""
# the parameters for the operator, as JSON
airflow-eip import-cluster -- aws emr create-cluster \
    --release-label emr-7.5.0 --use-default-roles --instance-type m5.xlarge
# a DAG of a script that has the command
airflow-eip import-cluster --dag --parameters parametersValues.json \
    --output dags/signals.py --file launch.sh"""

_HOW_TO_CONNECT = "where to, and how, is said by the connection in Airflow"
_WHY_IGNORED = {
    "--profile": "credentials are those of the connection in Airflow",
    "--endpoint-url": _HOW_TO_CONNECT,
    "--ca-bundle": _HOW_TO_CONNECT,
    "--no-verify-ssl": _HOW_TO_CONNECT,
    "--no-sign-request": _HOW_TO_CONNECT,
    "--cli-read-timeout": _HOW_TO_CONNECT,
    "--cli-connect-timeout": _HOW_TO_CONNECT,
    "--cli-binary-format": "it says how the AWS CLI reads binary values, and create-cluster has none",
}
_FOR_A_DAG = ("parameters", "allocation_id", "dag_id", "schedule")


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--file", metavar="FILE", help="a file that holds the command, as for a POSIX shell; nothing in it is run"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write the result (default: print it)")
    parser.add_argument("--dag", action="store_true", help="a DAG instead of JSON")
    parser.add_argument(
        "--parameters", metavar="FILE", help="a parametersValues.json, which names the Elastic IP of the DAG"
    )
    parser.add_argument(
        "--allocation-id", action=OnlyOne, metavar="ID", help="the Elastic IP of the DAG, instead of --parameters"
    )
    parser.add_argument("--dag-id", metavar="ID", help="the id of the DAG (default: after the cluster's name)")
    parser.add_argument(
        "--schedule",
        metavar="TEXT",
        help="the schedule of the DAG: a cron expression, or a preset such as @daily (default: by hand only)",
    )
    parser.add_argument(
        "--script",
        action="append",
        default=[],
        metavar="FILE",
        help="a copy of a bootstrap action's script, under the same file name, which shows whether it associates the "
        "address; may be given again",
    )
    parser.add_argument(
        "--python", metavar="PYTHON", help="a Python that has the package awscli (default: the one that runs this)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object: the result, and what is said on standard error"
    )
    parser.add_argument(
        "create_cluster",
        nargs=argparse.REMAINDER,
        metavar="-- aws emr create-cluster ...",
        help="the command, instead of --file",
    )


def run(options: argparse.Namespace) -> int:
    """Translate, and say what was changed."""
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        note(text)

    with only_the_result():
        result = _result(options, tell)
    if options.json:
        facts = written(result, options.output, name="dag" if options.dag else "job_flow_overrides")
        print_json({**facts, "notes": said})
    else:
        write_or_print(as_text(result), options.output)
    return OK


def _result(options: argparse.Namespace, tell: Tell) -> str | dict[str, Any]:
    from airflow_eip_provider.awscli_import.aws_cli import run_job_flow_of
    from airflow_eip_provider.awscli_import.job_flow import placeholders_in, without_association

    _check_dag_options(options)
    command, left_out = _command(options)
    allocation_id = _allocation_id(options)
    scripts = _scripts(options.script)
    progress("asking the AWS CLI what it would send")
    sent = run_job_flow_of(command, python=options.python)
    for text in left_out:
        tell(text)
    tell(f"what the AWS CLI {sent.version} sends to region {sent.region}")
    for option in sent.ignored:
        tell(f"{option}: not part of it; {_WHY_IGNORED.get(option, 'it says what the AWS CLI prints')}")
    for text in placeholders_in(sent.request):
        tell(f"{text} looks like a placeholder: write your value in its place")
    imported = without_association(sent.request, scripts=scripts)
    return _dag(imported, sent, allocation_id, options, tell) if options.dag else _overrides(imported, tell)


def _overrides(imported: Imported, tell: Tell) -> dict[str, Any]:
    for text in imported.notes:
        tell(text)
    if imported.overrides.get("Steps"):
        tell("Steps: EmrCreateWithStaticIpOperator takes none; move them into EmrAddStepsWithStaticIpOperator (--dag)")
    if not imported.overrides["Instances"]["KeepJobFlowAliveWhenNoSteps"]:
        tell("KeepJobFlowAliveWhenNoSteps is false: EmrCreateWithStaticIpOperator wants it true (--dag)")
    return imported.overrides


def _dag(imported: Imported, sent: RunJobFlow, allocation_id: str, options: argparse.Namespace, tell: Tell) -> str:

    from airflow_eip_provider.awscli_import.dag import DagOptions, dag_id_of, dag_source, password_variable
    from airflow_eip_provider.awscli_import.job_flow import for_a_dag
    from airflow_eip_provider.exceptions import UsageError
    from airflow_eip_provider.preflight.job_flow import node_counts

    imported = for_a_dag(imported)
    primaries, others = node_counts(imported.overrides["Instances"])
    if primaries != 1:
        problem = f"the command asks for {primaries} primary nodes, and an address is on one"
        raise UsageError("making a DAG", problem=problem, remedy="ask for exactly one MASTER instance")
    dag_id = options.dag_id or dag_id_of(imported.overrides["Name"])
    for text in imported.notes:
        tell(text)
    if others:
        tell(f"on_multi_node is warn: {others} core or task nodes read from other addresses than the Elastic IP")
    for name in imported.passwords:
        tell(f"{name} is not written into the DAG: put it into Airflow Variable {password_variable(dag_id, name)}")
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
    from airflow_eip_provider.exceptions import UsageError

    given = [name for name in _FOR_A_DAG if getattr(options, name) is not None]
    if given and not options.dag:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"reading {flags}", problem="it is for a DAG", remedy="add --dag, or leave it out")
    if options.dag_id is not None and not is_dag_id(options.dag_id):
        problem = f"{options.dag_id!r} cannot be the id of a DAG"
        remedy = "use 1 to 250 letters, digits, dashes, dots and underscores"
        raise UsageError("reading --dag-id", problem=problem, remedy=remedy)
    if options.schedule is not None and not is_schedule(options.schedule):
        problem = f"{options.schedule!r} is neither a cron expression nor a preset of Airflow's"
        remedy = "give 5 or 6 fields, as in '0 6 * * *', or @daily; leave it out for a DAG that is run by hand only"
        raise UsageError("reading --schedule", problem=problem, remedy=remedy)


def _command(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return the command's words, and what is left out of its file."""
    from airflow_eip_provider.awscli_import.shell import read_command
    from airflow_eip_provider.exceptions import UsageError

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


def _allocation_id(options: argparse.Namespace) -> str:
    """Return the address that is named; an empty string when none is needed."""
    from airflow_eip_provider.cli.address import allocation_id_of
    from airflow_eip_provider.exceptions import UsageError

    named = allocation_id_of(options)
    if options.dag and named is None:
        raise UsageError(
            "making a DAG", problem="no Elastic IP is named", remedy="give --parameters or --allocation-id"
        )
    return named or ""


def _scripts(files: Sequence[str]) -> dict[str, str]:
    """Return the texts by file name."""
    from airflow_eip_provider.exceptions import UsageError

    texts: dict[str, str] = {}
    for file in files:
        name = Path(file).name
        if name in texts:
            problem = f"another --script has the file name '{name}'"
            raise UsageError(f"reading --script '{file}'", problem=problem, remedy="give one of them")
        texts[name] = _text(file)
    return texts


def _text(file: str) -> str:
    from airflow_eip_provider.exceptions import UsageError

    if file.startswith("s3://"):
        raise UsageError(f"reading '{file}'", problem="it is in S3", remedy=f"fetch it first: aws s3 cp {file} .")
    try:
        return Path(file).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"reading '{file}'", problem=str(error), remedy="name a text file") from error


COMMAND = Command(
    "import-cluster",
    "turn an aws emr create-cluster command into a DAG",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "printed or written",
        WRONG: "wrong arguments, such as an option that the AWS CLI does not know",
    },
)
