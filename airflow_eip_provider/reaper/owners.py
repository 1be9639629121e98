"""Whether the owner of a cluster has finished: decided by what is known of it, never by time."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.owner import UNNAMED_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from airflow_eip_provider.operators.owner import Owner

_ENDED_RUNS = frozenset({"success", "failed"})


class OwnerState(Enum):
    """What is known of an owner."""

    RUNNING = "running"
    FINISHED = "finished"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    What is known of an owner, and why.

    :param why: a sentence for people.
    """

    state: OwnerState
    why: str


class Owners:
    """
    What this process can know of owners.

    :param environment: this Airflow environment's own name; ``None`` when it has none.
    :param gone: names of environments that are declared gone for good.
    :param run_state: tells the state of one of this environment's DAG runs by dag_id and run_id; ``None`` for a run
        that it does not know. Whatever it raises makes the owner unknown.
    :raises InvalidInputError: when this environment itself is declared gone.
    """

    def __init__(
        self, *, environment: str | None, gone: Collection[str] = (), run_state: Callable[[str, str], str | None]
    ) -> None:
        if (environment or UNNAMED_ENVIRONMENT) in gone:
            raise InvalidInputError(
                f"declaring environment '{environment or UNNAMED_ENVIRONMENT}' gone",
                problem="it is the one that this command runs in ([eip] environment)",
                remedy="name another, or single clusters by their job flow ids",
            )
        self._environment = environment
        self._gone = frozenset(gone)
        self._run_state = run_state

    def fresh(self) -> Callable[[Owner | None], Judgement]:
        """Return a judge that asks for each DAG run at most once."""
        state_of = functools.cache(self._run_state)

        def judge(owner: Owner | None) -> Judgement:
            return self._judge(owner, state_of)

        return judge

    def _judge(self, owner: Owner | None, state_of: Callable[[str, str], str | None]) -> Judgement:
        if owner is None:
            return Judgement(OwnerState.UNKNOWN, "its owner cannot be read from its tags: they are cut, or ambiguous")
        if owner.environment in self._gone:
            return Judgement(OwnerState.FINISHED, f"its environment '{owner.environment}' is declared gone")
        if owner.environment == UNNAMED_ENVIRONMENT:
            return Judgement(OwnerState.UNKNOWN, "its environment has no name ([eip] environment), so it may be any")
        if owner.environment != self._environment:
            return Judgement(OwnerState.UNKNOWN, f"its environment '{owner.environment}' is another one")
        return self._judge_own(owner, state_of)

    def _judge_own(self, owner: Owner, state_of: Callable[[str, str], str | None]) -> Judgement:
        run = f"DAG run '{owner.dag_id}/{owner.run_id}'"
        try:
            state = state_of(owner.dag_id, owner.run_id)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            return Judgement(OwnerState.UNKNOWN, f"Airflow does not say what has become of its {run}: {reason}")
        if state is None:
            return Judgement(OwnerState.UNKNOWN, f"Airflow does not know its {run} (any more)")
        if state in _ENDED_RUNS:
            return Judgement(OwnerState.FINISHED, f"its {run} has ended: {state}")
        return Judgement(OwnerState.RUNNING, f"its {run} is {state}")
