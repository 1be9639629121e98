"""The request of a command, from the AWS CLI's own code in a separate process."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCRIPT = Path(__file__).with_name("capture.py")
_DOING = "reading the create-cluster command"
_ALONE = (
    "give exactly one complete aws emr create-cluster command with nothing before it, such as sudo, export, NAME=value "
    "or the prompt of a shell"
)
# What the AWS CLI prints around an error: its usage, and a hint about version 2.
_USAGE = re.compile(r"\s*usage:.*?aws <command> <subcommand> help\s*", re.DOTALL)
_CORRECT = "correct the command"
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_REGION = re.compile(r"You must specify a region")
# What to do about an error of the AWS CLI version 1; the first pattern that matches counts.
_REMEDIES = [
    (re.compile(pattern), remedy)
    for pattern, remedy in {
        r"Unknown options: .*--(cli-input-json|cli-input-yaml|generate-cli-skeleton)\b": (
            r"no version of the AWS CLI has --\1 for create-cluster; write options, or, if you have RunJobFlow's "
            r"parameters as JSON, use them as job_flow_overrides: there is nothing to import"
        ),
        r"'--log-uri': Unable to retrieve": "write it as s3://BUCKET/PREFIX/",
        r"Unable to retrieve (https?://[^\s:]*(?::(?!\s)[^\s:]*)*)": (
            r"download it (curl --remote-name '\1'), and give it as file://NAME, relative to the folder of the command"
        ),
        r"Unable to load paramfile (?P<uri>\S+?): .*No such file": (
            "run this in the folder of the command, to which file:// paths are relative, or correct the path"
        ),
        r"Unable to load paramfile .*(?:could not be decoded|decode)": (
            "save that file in UTF-8, or set AWS_CLI_FILE_ENCODING to its encoding"
        ),
        r"Unable to load paramfile": "name a file that can be read",
        r"Invalid endpoint: https://elasticmapreduce\.\.": "name a region",
        r"Invalid endpoint: |Port (could not|out of range)|Invalid IPv6 URL|scheme is missing": (
            "leave --endpoint-url out, or write it as https://HOST or https://HOST:PORT"
        ),
        r"Invalid CA bundle": "leave --ca-bundle out, or name a file",
        r"[Uu]nknown options?:": "leave out the unknown option, or correct its spelling",
        r"(?i)json": "correct the JSON; in a shell put it in single quotes, or in a file: file://NAME",
        r"[Ee]xpected: '.*', received: '": "quote the whole value in single quotes, or correct it",
    }.items()
]
# The region without --region, and the encoding of files; all other settings of the user are ignored.
_KEPT = {"AWS_DEFAULT_REGION", "AWS_CLI_FILE_ENCODING"}


@dataclass(frozen=True, slots=True)
class RunJobFlow:
    """
    The request that the AWS CLI sends.

    :param request: RunJobFlow's parameters, as on the wire.
    :param ignored: options about the AWS CLI itself, which are not part of the request.
    :param version: the version of the AWS CLI.
    """

    request: dict[str, Any]
    region: str
    ignored: list[str]
    version: str


def run_job_flow_of(arguments: Sequence[str], *, python: str | None = None) -> RunJobFlow:
    """
    Return the request that a command would send; send nothing.

    It reads the files that the command names, relative to the current directory. It needs no credentials and reads no
    settings of the AWS CLI.

    :param arguments: the words of the command: ``aws emr create-cluster …``.
    :param python: a Python that has the package awscli; this one by default.
    :raises UsageError: when there is no AWS CLI, or it refuses the command.
    """
    if not arguments or Path(arguments[0]).name not in {"aws", "aws.exe"}:
        problem = f"it starts with {arguments[0]!r}" if arguments else "there is none"
        raise UsageError(_DOING, problem=problem, remedy=_ALONE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") or name in _KEPT}
    environment |= {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
    }
    try:
        done = subprocess.run(  # noqa: S603 - this Python, or the one that the user names
            [python or sys.executable, "-I", str(_SCRIPT), *arguments[1:]],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        remedy = "name another with --python"
        if error.errno == errno.E2BIG:
            remedy = "put the longest value into a file, and give that as file://NAME"
        raise UsageError("running the AWS CLI", problem=str(error), remedy=remedy) from error
    except ValueError as error:  # a NUL, or half a surrogate pair
        raise UsageError(_DOING, problem=f"a word of it is not text: {error}", remedy=_CORRECT) from error
    if done.returncode:
        raise refusal(done.stderr, arguments)
    if not done.stdout:
        raise UsageError(_DOING, problem="it sends nothing", remedy=_ALONE)
    sent = RunJobFlow(**json.loads(done.stdout))
    if _SURROGATE.search(json.dumps(sent.request, ensure_ascii=False)):
        raise UsageError(_DOING, problem="a value has half a surrogate pair, which is not a character", remedy=_CORRECT)
    return sent


def refusal(output: str, arguments: Sequence[str]) -> UsageError:
    """
    Return the error for a command that the AWS CLI refuses.

    :param output: what the AWS CLI prints.
    """
    if "No module named 'awscli'" in output:
        return UsageError(
            "running the AWS CLI",
            problem="this Python has no package awscli (packages from --user and PYTHONPATH are ignored)",
            remedy="pip install 'airflow-eip-provider[import]', or name a Python that has it with --python",
        )
    message = " ".join(_USAGE.sub("", output).split()).removeprefix("aws: error: ").rstrip(".")
    if _NO_REGION.match(message) and not any(word.startswith("--region") for word in arguments):
        return UsageError(_DOING, problem="it names no region", remedy="add --region to it, or set AWS_DEFAULT_REGION")
    remedy = next((found.expand(text) for pattern, text in _REMEDIES if (found := pattern.search(message))), _CORRECT)
    # Some errors name only the value.
    options = [
        name
        for name, value in pairwise(arguments)
        if name.startswith("--") and (repr(value) in message or (value and message.endswith(f": {value}")))
    ]
    if options and "--" not in message:
        message = f"{', '.join(options)}: {message}"
    invisible = [repr(word) for word in arguments if not word.strip()]
    if invisible:
        message = f"{message} (among its words: {', '.join(invisible)})"
    return UsageError(_DOING, problem=f"the AWS CLI refuses it: {message}", remedy=remedy)
