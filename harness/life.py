"""A task's life without Airflow's processes: phases, deferrals through JSON, retries, on one simulated clock."""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import botocore.endpoint

from airflow_eip_provider.airflow_compat import AirflowTaskTimeout, TaskDeferred
from airflow_eip_provider.hooks import aws as _aws
from airflow_eip_provider.lease_client import client as lease_client
from airflow_eip_provider.lease_client import waiting as _waiting
from airflow_eip_provider.operators import eip as _eip
from airflow_eip_provider.operators import emr as _emr
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from airflow_eip_provider.triggers import observed, poller
from harness.polling import passing

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

# Whose sleeps and deadlines are simulated. The observer's age of a listing is not: it is about calls, not about AWS.
_TIMED = tuple(
    f"airflow_eip_provider.{package}."
    for package in ("aws", "health", "hooks", "lease_client", "operators", "sensors", "triggers")
)
_REAL = frozenset({observed.__name__})
_LOADED = (_aws, _eip, _emr, _waiting)  # and with them all that waits


class TaskInstance:
    """What an operator sees of its task instance."""

    def __init__(
        self,
        *,
        task_id: str,
        dag_id: str = "azure_daily",
        run_id: str = "run-1",
        try_number: int = 1,
        max_tries: int = 0,
    ) -> None:
        self.task_id, self.dag_id, self.run_id, self.try_number = task_id, dag_id, run_id, try_number
        self.max_tries = max_tries
        self.map_index = -1
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = json.loads(json.dumps(value))

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index), "a task reads its own XComs only"
        return self.xcoms.get(key)


class _StateStore:
    def __init__(self, kept: dict[str, Any]) -> None:
        self._kept = kept

    def get(self, key: str) -> Any:
        return self._kept.get(key)

    def set(self, key: str, value: Any) -> None:
        self._kept[key] = json.loads(json.dumps(value))


class Task:
    """
    One try of one task; a deferral goes through JSON and comes back on a fresh operator, as in Airflow.

    :param remembered: what outlives the try, as from Airflow 3.3 on.
    :ivar operator: the one of the newest phase.
    """

    def __init__(self, operator: Any, *, remembered: dict[str, Any] | None = None, **ti: Any) -> None:
        self._pristine = self.operator = operator
        self._remembered = remembered
        self.ti = TaskInstance(task_id=operator.task_id, **{"max_tries": operator.retries or 0, **ti})
        self.deferral: TaskDeferred | None = None
        self.deferrals: list[str] = []
        self.result: Any = None
        self.error: BaseException | None = None

    @property
    def context(self) -> dict[str, Any]:
        store = {} if self._remembered is None else {"task_state_store": _StateStore(self._remembered)}
        return {"ti": self.ti, "task_instance": self.ti, **store}

    @property
    def ended(self) -> bool:
        return self.deferral is None

    def start(self) -> None:
        self._phase(lambda operator: operator.execute(self.context))

    def resume(self, event: dict[str, Any]) -> None:
        assert self.deferral is not None
        name = self.deferral.method_name
        self._phase(
            lambda operator: operator.resume_execution(name, {"event": json.loads(json.dumps(event))}, self.context)
        )

    def fail_deferral(self, error: str = "Trigger timeout") -> None:
        self._phase(lambda operator: operator.resume_execution("__fail__", {"error": error}, self.context))

    def trigger(self) -> Any:
        """Rebuild the trigger from what the database would hold of it."""
        assert self.deferral is not None
        path, kwargs = self.deferral.trigger.serialize()
        module, name = path.rsplit(".", 1)
        return getattr(importlib.import_module(module), name)(**json.loads(json.dumps(kwargs)))

    def run(self) -> Any:
        """Live to the end; return the result or raise the error."""
        self.start()
        self.go_on()
        if self.error is not None:
            raise self.error
        return self.result

    def go_on(self) -> None:
        """Let triggers fire and phases resume until the task ends."""
        while not self.ended:
            self.resume(asyncio.run(_first_event(self.trigger())))

    def _phase(self, call: Callable[[Any], Any]) -> None:
        operator = self.operator = copy.copy(self._pristine)
        self.deferral, self.error = None, None
        try:
            operator.pre_execute(self.context)
            self.result = call(operator)
        except TaskDeferred as deferral:
            self.deferral = deferral
            self.deferrals.append(type(deferral.trigger).__name__)
        except (Exception, AirflowTaskTimeout) as error:  # the task failed, as Airflow would note
            self.error = error


async def _first_event(trigger: Any) -> dict[str, Any]:
    async for event in trigger.run():
        payload: dict[str, Any] = event.payload
        return payload
    raise AssertionError("the trigger ended without an event")


def clock_of(local_aws: Any) -> SimpleNamespace:
    """Return what stands for the module ``time`` on the local EMR's clock: a sleep turns it."""

    def now() -> float:
        return float(local_aws.clock.now().timestamp())

    return SimpleNamespace(time=now, monotonic=now, sleep=local_aws.clock.advance)


def put_on_clock(local_aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the operators and triggers sleep on the local EMR's clock: a sleep turns it."""
    clock = clock_of(local_aws)
    airflows_sensor = next(cls for cls in EipAssociationSensor.__mro__ if cls.__name__ == "BaseSensorOperator")
    monkeypatch.setattr(sys.modules[airflows_sensor.__module__], "time", clock)
    timed = [module for name, module in sys.modules.items() if name.startswith(_TIMED) and name not in _REAL]
    for module in (*(module for module in timed if vars(module).get("time") is time), botocore.endpoint):
        monkeypatch.setattr(module, "time", clock)
    # How much time has passed since the store's answer is real; its pauses are not.
    monkeypatch.setattr(lease_client, "time", SimpleNamespace(monotonic=time.monotonic, sleep=clock.sleep))
    monkeypatch.setattr(poller.Poller, "_pause", passing(local_aws.clock.advance))
