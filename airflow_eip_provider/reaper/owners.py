"""Decides whether the owner of a cluster has finished, by the state of its DAG run and never by time."""

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
    """The state of an owner."""

    RUNNING = "running"
    FINISHED = "finished"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    The state of an owner, and the reason.

    :param why: the reason, in words.
    """

    state: OwnerState
    why: str


class Owners:
    """
    Judges owners by what this process can read.

    :param environment: the name of this Airflow environment; ``None`` when it has none.
    :param gone: the names of environments that are declared to be permanently gone.
    :param run_state: returns the state of a DAG run of this environment by dag_id and run_id; ``None`` for an unknown
        run. If it raises an error, the owner is unknown.
    :raises InvalidInputError: when this environment itself is declared gone.
    """

    def __init__(
        self, *, environment: str | None, gone: Collection[str] = (), run_state: Callable[[str, str], str | None]
    ) -> None:
        if (environment or UNNAMED_ENVIRONMENT) in gone:
            raise InvalidInputError(
                f"--environment {environment or UNNAMED_ENVIRONMENT}",
                problem="this is the environment of this command ([eip] environment), so it still exists",
                remedy="name another environment, or single clusters by their job flow IDs",
            )
        self._environment = environment
        self._gone = frozenset(gone)
        self._run_state = run_state

    def new_judge(self) -> Callable[[Owner | None], Judgement]:
        """Return a function that judges owners and reads the state of each DAG run at most once."""
        return functools.partial(self._judge, state_of=functools.cache(self._run_state))

    def _judge(self, owner: Owner | None, *, state_of: Callable[[str, str], str | None]) -> Judgement:
        if owner is None:
            return Judgement(
                OwnerState.UNKNOWN, "its owner cannot be read from its tags: they are truncated or ambiguous"
            )
        if owner.environment in self._gone:
            return Judgement(OwnerState.FINISHED, f"its environment '{owner.environment}' is declared gone")
        if owner.environment == UNNAMED_ENVIRONMENT:
            return Judgement(OwnerState.UNKNOWN, "its environment has no name ([eip] environment)")
        if owner.environment != self._environment:
            return Judgement(OwnerState.UNKNOWN, f"its environment '{owner.environment}' is not this one")
        return self._judge_own(owner, state_of)

    def _judge_own(self, owner: Owner, state_of: Callable[[str, str], str | None]) -> Judgement:
        run = f"DAG run '{owner.dag_id}/{owner.run_id}'"
        try:
            state = state_of(owner.dag_id, owner.run_id)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            return Judgement(OwnerState.UNKNOWN, f"the state of its {run} cannot be read: {reason}")
        if state is None:
            return Judgement(OwnerState.UNKNOWN, f"Airflow does not know its {run}")
        if state in _ENDED_RUNS:
            return Judgement(OwnerState.FINISHED, f"its {run} has ended: {state}")
        return Judgement(OwnerState.RUNNING, f"its {run} is {state}")
