"""Builds the command of a step or bootstrap action from its jar and arguments."""

from __future__ import annotations

import codecs
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from local_emr.emr.steps import SCRIPT_NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_emr.emr.steps import NodeWork

S3_SCHEMES = ("s3", "s3a", "s3n")
# The step of --enable-debugging, in old and current clients.
_STATE_PUSHER = re.compile(r"(s3[an]?://(\S+\.)?elasticmapreduce/libs/state-pusher/.*|state-pusher-script)$")


class StepRefusedError(Exception):
    """A step or bootstrap action that cannot run; reason and message become EMR's ``FailureDetails``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, kw_only=True)
class S3Location:
    """An object or prefix in S3."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> S3Location:
        """Parse an ``s3://``, ``s3a://`` or ``s3n://`` URI; ValueError for others."""
        parts = urlsplit(uri, allow_fragments=False)
        if parts.scheme not in S3_SCHEMES or not parts.netloc:
            message = f"{uri!r} is not an S3 address like s3://bucket/key"
            raise ValueError(message)
        return cls(bucket=parts.netloc, key=parts.path.lstrip("/"))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, kw_only=True)
class Command:
    """
    The command on the node.

    :param warnings: warnings for its logs.
    """

    arguments: list[str]
    warnings: list[str] = field(default_factory=list)


def command_of(work: NodeWork, *, fetch: Callable[[S3Location, Path], None], work_dir: Path) -> Command:
    """Return the command of a step or a bootstrap action.

    ``command-runner.jar`` runs its arguments, and ``script-runner.jar`` fetches the script named first and runs it with
    the rest, as in https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-commandrunner.html.

    :param fetch: Copies an object of the local S3 to a file.
    :raises StepRefusedError: When it cannot run here.
    """
    jar = work.jar.rsplit("/", 1)[-1]
    if jar not in ("command-runner.jar", "script-runner.jar"):
        raise StepRefusedError(
            "Jar not supported.",
            f"{work.jar} cannot run on a local cluster without Hadoop: use command-runner.jar or script-runner.jar",
        )
    if not work.args:
        raise StepRefusedError(
            "Unknown Error.", f"{jar} needs arguments: the command to run, or the script and its own"
        )
    if jar == "command-runner.jar":
        # One argument may contain a whole command line, as the console writes it.
        return Command(arguments=list(work.args) if len(work.args) > 1 else shlex.split(work.args[0]))
    script, *args = work.args
    if _STATE_PUSHER.match(script):
        return Command(arguments=["state-pusher-script"])
    return _script(script, args, fetch=fetch, work_dir=work_dir)


def _script(address: str, args: list[str], *, fetch: Callable[[S3Location, Path], None], work_dir: Path) -> Command:
    try:
        location = S3Location.parse(address)
    except ValueError as error:
        raise StepRefusedError(SCRIPT_NOT_FOUND, f"script-runner.jar: {error}") from error
    script = work_dir / (location.key.rsplit("/", 1)[-1] or "script")
    fetch(location, script)
    script.chmod(0o755)
    command = _interpreted(script, name=str(location))
    return Command(arguments=[*command.arguments, *args], warnings=command.warnings)


def _interpreted(script: Path, *, name: str) -> Command:
    """
    Return a script's interpreter and the script, as the kernel and the shell do.

    So the script is read and not executed: execution fails while a process forked by another thread has it open for
    writing.

    :raises StepRefusedError: When its first line has a Windows line ending, as that interpreter does not exist.
    """
    content = script.read_bytes()
    if content.startswith(b"\x7fELF"):
        return Command(arguments=[str(script)])
    first = content.partition(b"\n")[0]
    warnings = []
    if b"\r\n" in content:
        warnings.append(f"{name} has Windows line ends (CRLF); convert it, e.g. with dos2unix")
    if content.startswith(codecs.BOM_UTF8):
        warnings.append(f"{name} begins with a byte order mark, so its first line names no interpreter; remove it")
    if not first.startswith(b"#!"):
        return Command(arguments=["/bin/sh", str(script)], warnings=warnings)
    if first.endswith(b"\r"):
        interpreter = first[2:].strip().decode(errors="replace")
        raise StepRefusedError(
            "Unknown Error.",
            f"{warnings[0]}: its first line asks for the interpreter '{interpreter}\\r', which does not exist",
        )
    # At most one argument, which may contain blanks, as in execve(2).
    interpreter, _, argument = first[2:].decode(errors="replace").strip().partition(" ")
    return Command(arguments=[interpreter, *filter(None, [argument.strip()]), str(script)], warnings=warnings)
