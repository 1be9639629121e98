"""Finding submitted steps: AddJobFlowSteps has no idempotency token, so step names identify their task and try."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.clusters import GUARD_MARK
from airflow_eip_provider.operators.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.aws.clusters import Step

_LINEAGE = "spark.openlineage."
_NONCE_DIGITS = 12
_NAME_LENGTH = 256  # StepConfig.Name (EMR API reference)


@dataclass(frozen=True, slots=True)
class StepMark:
    """The suffix of the names of a try's steps, by which a later try finds them."""

    owner: str
    try_number: int

    @classmethod
    def of(cls, context: Context) -> StepMark:
        """Return the mark of this try."""
        return cls(Owner.of(context).digest[:_NONCE_DIGITS], context["ti"].try_number)

    def __str__(self) -> str:
        return f"{GUARD_MARK}{self.owner}.{self.try_number}]"

    def try_of(self, name: str) -> int | None:
        """Return the try of this owner that submitted a step; ``None`` for other owners."""
        match = re.search(rf"{re.escape(GUARD_MARK + self.owner)}\.(\d+)\]$", name)
        return int(match[1]) if match else None

    def on(self, steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the steps with this mark appended to their names."""
        marked = [copy.deepcopy(dict(step)) for step in steps]
        for step in marked:
            step["Name"] = f"{step['Name'][: _NAME_LENGTH - len(str(self)) - 1]} {self}"
        return marked

    def by_try(self, steps: Sequence[Step]) -> dict[int, list[Step]]:
        """Return this owner's steps by try, oldest first; ``steps`` is newest first, as EMR lists them."""
        tries: dict[int, list[Step]] = {}
        for step in reversed(steps):
            if (number := self.try_of(step.name)) is not None:
                tries.setdefault(number, []).append(step)
        return tries


def have_changed(submitted: Sequence[Step], wanted: Sequence[Mapping[str, Any]], mark: StepMark) -> bool:
    """
    Return whether submitted steps differ from those that the task has now, in name, JAR or arguments.

    :param submitted: as many steps as wanted, of one try.
    :param wanted: the steps for AddJobFlowSteps, without a mark and without the arguments for OpenLineage.
    """
    by_name = replace(mark, try_number=mark.try_of(submitted[0].name) or 0)
    for step, now in zip(submitted, by_name.on(wanted), strict=True):
        jar = now["HadoopJarStep"]
        is_same = (step.jar, _without_lineage(step.args)) == (jar["Jar"], _without_lineage(jar.get("Args") or ()))
        if step.name != now["Name"] or (step.jar is not None and not is_same):
            return True
    return False


def _without_lineage(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a step without the properties for OpenLineage, which differ in each try."""
    kept: list[str] = []
    for argument in arguments:
        if argument.startswith(_LINEAGE) and kept[-1:] == ["--conf"]:
            kept.pop()
        else:
            kept.append(argument)
    return kept


def steps_to_adopt(
    tries: Mapping[int, Sequence[Step]], *, count: int, first_try: int, own_try: int | None
) -> list[Step]:
    """
    Return the steps to continue with: those that are still active, or that all completed.

    A task that was cleared runs its steps again; a task whose process or AWS response was lost does not.

    :param tries: this owner's steps by try.
    :param count: how many steps the task has.
    :param first_try: the first try since the task was last cleared.
    :param own_try: this try, if it may have submitted steps already; it continues with them in any state.
    """
    newest = max(tries, default=0)
    for number, steps in tries.items():
        states = {step.state for step in steps}
        completed = len(steps) == count and states == {"COMPLETED"} and number == newest >= first_try
        active = bool(states & {"PENDING", "RUNNING"}) and "CANCEL_PENDING" not in states
        if number == own_try or active or completed:
            return list(steps)
    return []
