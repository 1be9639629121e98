"""The tables of the README, made from the code: ``python local_emr/tests/api_tables.py`` writes them there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import botocore.session

from local_emr import LocalAws
from local_emr.azure_arm import _ACTIONS, _TYPE
from local_emr.control import MY_IP, PREFIX, ControlApi
from local_emr.ec2.routes import CHANGES

README = Path(__file__).resolve().parents[1] / "README.md"


def emr_table(aws: LocalAws) -> str:
    """What of EMR's API is there, in the words of its functions, and what is not."""
    here = aws.emr._actions
    rows = [f"| `{name}` | {_first_line(action)} |" for name, action in sorted(here.items())]
    return "\n".join(
        [
            "| Operation | What it does here |",
            "| --- | --- |",
            *rows,
            "",
            f"Not there, and refused with `NotSimulated`: {_listed(sorted(emr_absent(aws)))}.",
        ]
    )


def emr_absent(aws: LocalAws) -> set[str]:
    """Return the operations that botocore knows and the local EMR does not."""
    known = botocore.session.get_session().get_service_model("emr").operation_names
    return set(known) - set(aws.emr._actions)


def ec2_table(aws: LocalAws) -> str:
    """Who answers which operations of EC2."""
    own = sorted(aws.ec2(aws.region)._own)
    corrected = sorted({"RunInstances", "StartInstances", "TerminateInstances", *CHANGES})
    return "\n".join(
        [
            "| Operations | Answered by |",
            "| --- | --- |",
            f"| {_listed(own)} | local-emr, by AWS's rules |",
            f"| {_listed(corrected)} | moto, and local-emr corrects what differs from AWS |",
            "| every other | moto |",
        ]
    )


def azure_table() -> str:
    """Return what of Azure Resource Manager is there."""
    rows = [f"| `{method}` | `{_TYPE}/{action}` |" for method, action in _ACTIONS.items()]
    return "\n".join(["| Request | Operation |", "| --- | --- |", *rows])


def control_routes(aws: LocalAws) -> set[str]:
    """Return the control API's routes."""
    return {f"{method} {PREFIX}{path}" for method, path in ControlApi(aws)._routes} | {f"GET {MY_IP}"}


def written(text: str, aws: LocalAws) -> str:
    """Return the README with the tables of this code."""
    for name, table in (("emr", emr_table(aws)), ("ec2", ec2_table(aws)), ("azure", azure_table())):
        marked = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        text, found = marked.subn(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", text)
        assert found == 1, name
    return text


def _first_line(function: Any) -> str:
    return (inspect.getdoc(function) or "").splitlines()[0]


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    with LocalAws() as made:
        README.write_text(written(README.read_text(encoding="utf-8"), made), encoding="utf-8")
