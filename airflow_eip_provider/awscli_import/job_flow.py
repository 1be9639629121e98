"""What is changed in a request of the AWS CLI, for a cluster whose address is associated from outside."""

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

# What shows that a bootstrap action associates an Elastic IP: the parameters file, the program that is known to read
# it (internetprotocol-….jar), EC2's call, and what people name a script of their own.
_ASSOCIATES = re.compile(
    r"""parametersValues\.json
      | internetprotocol[\w.-]*\.jar
      | associate[-_]?(?:address|(?:an?[-_]?)?(?:elastic[-_]?ip|eip))""",
    re.IGNORECASE | re.VERBOSE,
)
# What the author of an example leaves to its reader: <YOUR_KEY>, <your-key>.
_PLACEHOLDER = re.compile(r"<[A-Za-z0-9]+(?:[ _-][A-Za-z0-9]+)+>")
_DEBUGGING = "Setup Hadoop Debugging"  # what --enable-debugging adds
_PASSWORDS = ("KdcAdminPassword", "CrossRealmTrustPrincipalPassword", "ADDomainJoinPassword")


@dataclass(slots=True)
class Imported:
    """
    A request, and what a DAG does besides.

    :param overrides: RunJobFlow's parameters.
    :param notes: what was changed, a sentence each.
    :param steps: for AddJobFlowSteps, once the address is bound.
    :param passwords: of ``overrides["KerberosAttributes"]``, which a DAG file must not hold: their names.
    """

    overrides: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    execution_role_arn: str | None = None
    passwords: list[str] = field(default_factory=list)


def placeholders_in(request: Mapping[str, Any]) -> list[str]:
    """Return what looks like a placeholder in a request's values: quotes may hide one from the shell."""
    return sorted(set(_PLACEHOLDER.findall(json.dumps(request, ensure_ascii=False))))


def _files_of(action: Mapping[str, Any]) -> set[str]:
    """Return what a bootstrap action may run: its script, and what its arguments name, as those of ``run-if`` do."""
    script = action["ScriptBootstrapAction"]
    words = [word for argument in script.get("Args", []) for word in argument.split()]
    return {script["Path"], *(word.strip("\"'") for word in words)}


def without_association(request: Mapping[str, Any], *, scripts: Mapping[str, str]) -> Imported:
    """
    Leave out the bootstrap actions that associate an Elastic IP.

    Such an action is known by its path, its arguments, or the text of a script that one of these names: it names
    parametersValues.json, or an associating program.

    :param scripts: the text of scripts by file name, as far as the user has copies.
    :raises UsageError: for a script that is not one action's: no action has its file name, or several do.
    """
    imported = Imported(copy.deepcopy(dict(request)))
    _check_scripts(scripts, imported.overrides.get("BootstrapActions", []))
    kept = []
    for action in imported.overrides.pop("BootstrapActions", []):
        script = action["ScriptBootstrapAction"]
        place = f"bootstrap action {action['Name']!r} ({script['Path']})"
        names = {PurePosixPath(path).name for path in _files_of(action)}
        text = "\n".join(text for name, text in scripts.items() if name in names)
        if named := _ASSOCIATES.search(" ".join([script["Path"], *script.get("Args", [])])):
            imported.notes.append(f"{place} is left out: it names {named[0]}")
        elif named := _ASSOCIATES.search(text):
            imported.notes.append(
                f"{place} is left out: its script names {named[0]}; if that does anything else, keep the rest of it "
                "as a bootstrap action"
            )
        else:
            kept.append(action)
            imported.notes.append(
                f"{place} stays: nothing shows that it associates the address; if it does, leave it out of the "
                "command, or give a copy of its script with --script"
            )
    if kept:
        imported.overrides["BootstrapActions"] = kept
    return imported


def _check_scripts(names: Iterable[str], actions: Sequence[Mapping[str, Any]]) -> None:
    paths = ", ".join(sorted({action["ScriptBootstrapAction"]["Path"] for action in actions}))
    for name in names:
        users = [action for action in actions if any(PurePosixPath(path).name == name for path in _files_of(action))]
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
                remedy="leave --script out, and the one that associates the address out of the command",
            )


def for_a_dag(imported: Imported) -> Imported:
    """Move what would run before the address is bound, or end the cluster before that, to where a DAG does it."""
    changed = copy.deepcopy(imported)
    overrides, notes = changed.overrides, changed.notes
    changed.steps = overrides.pop("Steps", [])
    if changed.steps:
        names = ", ".join(repr(step["Name"]) for step in changed.steps)
        notes.append(f"steps {names}: a task of their own runs them, once the address is bound")
    if all(step["Name"] == _DEBUGGING for step in changed.steps):
        notes.append("the command has no steps of yours: put them where the DAG says so")
    changed.execution_role_arn = overrides.pop("StepExecutionRoleArn", None)
    if changed.execution_role_arn:
        notes.append("StepExecutionRoleArn is the execution_role_arn of that task")
    if not overrides["Instances"]["KeepJobFlowAliveWhenNoSteps"]:
        overrides["Instances"]["KeepJobFlowAliveWhenNoSteps"] = True
        notes.append(
            "--auto-terminate: KeepJobFlowAliveWhenNoSteps is true, because the steps come later; the task terminate "
            "ends the cluster"
        )
    else:
        notes.append("the cluster does not outlive the DAG run: the task terminate ends it")
    changed.passwords = [name for name in _PASSWORDS if name in overrides.get("KerberosAttributes", {})]
    return changed
