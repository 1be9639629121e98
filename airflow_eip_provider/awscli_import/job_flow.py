"""The changes to a request of the AWS CLI for a cluster whose address Airflow associates."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Signs that a bootstrap action associates an Elastic IP: the parameters file, the known program that reads it
# (internetprotocol-….jar), the EC2 call, and usual names of scripts.
_ASSOCIATES = re.compile(
    r"""parametersValues\.json
      | internetprotocol[\w.-]*\.jar
      | associate[-_]?(?:address|(?:an?[-_]?)?(?:elastic[-_]?ip|eip))""",
    re.IGNORECASE | re.VERBOSE,
)
# Placeholders of examples: <YOUR_KEY>, <your-key>.
_PLACEHOLDER = re.compile(r"<[A-Za-z0-9]+(?:[ _-][A-Za-z0-9]+)+>")
_DEBUGGING = "Setup Hadoop Debugging"  # what --enable-debugging adds
_PASSWORDS = ("KdcAdminPassword", "CrossRealmTrustPrincipalPassword", "ADDomainJoinPassword")


@dataclass(slots=True)
class Imported:
    """
    A request, and what a DAG does in addition.

    :param overrides: RunJobFlow's parameters.
    :param notes: a sentence for each change.
    :param steps: for AddJobFlowSteps, after the address is bound.
    :param passwords: the names of the passwords in ``overrides["KerberosAttributes"]``; a DAG file must not have them.
    """

    overrides: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    execution_role_arn: str | None = None
    passwords: list[str] = field(default_factory=list)


def placeholders_in(request: Mapping[str, Any]) -> list[str]:
    """Return what looks like a placeholder in the values of a request; the shell does not see a quoted one."""
    return sorted(set(_PLACEHOLDER.findall(json.dumps(request, ensure_ascii=False))))


def _file_names(action: Mapping[str, Any]) -> set[str]:
    """Return the names of the files that a bootstrap action may run: its script, and the files in its arguments."""
    script = action["ScriptBootstrapAction"]
    words = [word for argument in script.get("Args", []) for word in argument.split()]
    return {PurePosixPath(path).name for path in (script["Path"], *(word.strip("\"'") for word in words))}


def without_association(request: Mapping[str, Any], *, scripts: Mapping[str, str]) -> Imported:
    """
    Remove the bootstrap actions that associate an Elastic IP.

    Such an action names parametersValues.json or an associating program: in its path, its arguments, or the text of a
    script that it runs.

    :param scripts: the text of scripts by file name, of which the user has copies.
    :raises UsageError: for a script whose file name belongs to no action, or to several.
    """
    imported = Imported(copy.deepcopy(dict(request)))
    _check_scripts(scripts, imported.overrides.get("BootstrapActions", []))
    kept = []
    for action in imported.overrides.pop("BootstrapActions", []):
        script = action["ScriptBootstrapAction"]
        subject = f"bootstrap action {action['Name']!r} ({script['Path']})"
        names = _file_names(action)
        text = "\n".join(text for name, text in scripts.items() if name in names)
        if sign := _ASSOCIATES.search(" ".join([script["Path"], *script.get("Args", [])])):
            imported.notes.append(f"{subject} is left out: it names {sign[0]}")
        elif sign := _ASSOCIATES.search(text):
            imported.notes.append(
                f"{subject} is left out: its script names {sign[0]}; if the script does anything else, "
                "keep the rest of it as a bootstrap action"
            )
        else:
            kept.append(action)
            imported.notes.append(
                f"{subject} stays: there is no sign that it associates the address; if it does, remove it from the "
                "command, or give a copy of its script with --script"
            )
    if kept:
        imported.overrides["BootstrapActions"] = kept
    return imported


def _check_scripts(names: Iterable[str], actions: Sequence[Mapping[str, Any]]) -> None:
    paths = ", ".join(sorted({action["ScriptBootstrapAction"]["Path"] for action in actions}))
    for name in names:
        users = [action for action in actions if name in _file_names(action)]
        matching = sorted({action["ScriptBootstrapAction"]["Path"] for action in users})
        if not matching:
            raise UsageError(
                f"reading --script '{name}'",
                problem=f"no bootstrap action has that file name; their paths are: {paths or 'none'}",
                remedy="give the copy the name of the script" if paths else "leave it out",
            )
        if len(matching) > 1:
            raise UsageError(
                f"reading --script '{name}'",
                problem=f"several bootstrap actions have that file name: {', '.join(matching)}",
                remedy="omit --script, and remove the action that associates the address from the command",
            )


def for_a_dag(imported: Imported) -> Imported:
    """Move the steps and the end of the cluster from the request to tasks of the DAG, which run after the binding."""
    changed = copy.deepcopy(imported)
    overrides, notes = changed.overrides, changed.notes
    changed.steps = overrides.pop("Steps", [])
    if changed.steps:
        names = ", ".join(repr(step["Name"]) for step in changed.steps)
        notes.append(f"steps {names}: a separate task runs them after the address is bound")
    if all(step["Name"] == _DEBUGGING for step in changed.steps):
        notes.append("the command has no steps of yours: add them at the comment in the DAG")
    changed.execution_role_arn = overrides.pop("StepExecutionRoleArn", None)
    if changed.execution_role_arn:
        notes.append("StepExecutionRoleArn becomes the execution_role_arn of that task")
    if not overrides["Instances"]["KeepJobFlowAliveWhenNoSteps"]:
        overrides["Instances"]["KeepJobFlowAliveWhenNoSteps"] = True
        notes.append(
            "--auto-terminate: KeepJobFlowAliveWhenNoSteps becomes true, because the steps come later; the task "
            "terminate ends the cluster"
        )
    else:
        notes.append("the cluster does not outlive the DAG run: the task terminate ends it")
    changed.passwords = [name for name in _PASSWORDS if name in overrides.get("KerberosAttributes", {})]
    return changed
