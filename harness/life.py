"""Runs a task without Airflow's processes: phases, deferrals through JSON, and retries, on one simulated clock."""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import botocore.endpoint
import pytest

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import AirflowTaskTimeout, TaskDeferred
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from airflow_eip_provider.triggers.poller import Poller
from harness.polling import passing
from harness.simulated_clock import SimulatedClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class TaskInstance:
    """A task instance, as far as an operator uses it."""

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
    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def get(self, key: str) -> Any:
        return self._values.get(key)

    def set(self, key: str, value: Any) -> None:
        self._values[key] = json.loads(json.dumps(value))


class Task:
    """
    One try of one task; a deferral goes through JSON and is resumed on a new operator, as in Airflow.

    :param remembered: the task state store of Airflow ≥ 3.3, which outlives the try.
    :ivar operator: the operator of the newest phase.
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
        """Rebuild the trigger from what the database would store."""
        assert self.deferral is not None
        path, kwargs = self.deferral.trigger.serialize()
        module, name = path.rsplit(".", 1)
        return getattr(importlib.import_module(module), name)(**json.loads(json.dumps(kwargs)))

    def run(self) -> Any:
        """Run the try to its end; return the result or raise the error."""
        self.start()
        self.go_on()
        if self.error is not None:
            raise self.error
        return self.result

    def go_on(self) -> None:
        """Run triggers and resume phases until the task ends."""
        while not self.ended:
            self.resume(asyncio.run(first_event(self.trigger())))

    def _phase(self, call: Callable[[Any], Any]) -> None:
        operator = self.operator = copy.copy(self._pristine)
        self.deferral, self.error = None, None
        try:
            operator.pre_execute(self.context)
            self.result = call(operator)
        except TaskDeferred as deferral:
            self.deferral = deferral
            self.deferrals.append(type(deferral.trigger).__name__)
        except (Exception, AirflowTaskTimeout) as error:  # the task has failed
            self.error = error


async def first_event(trigger: Any) -> dict[str, Any]:
    """Run a trigger in the running event loop; return the payload of its event."""
    async for event in trigger.run():
        payload: dict[str, Any] = event.payload
        return payload
    raise AssertionError("the trigger ended without an event")


def events_of(*triggers: Any, return_exceptions: bool = False, seconds: float = 60) -> list[Any]:
    """
    Run triggers together in an event loop; return the payloads of their events.

    :param return_exceptions: as in ``asyncio.gather``.
    :param seconds: the longest time that this may take.
    """

    async def run() -> list[Any]:
        events = asyncio.gather(*map(first_event, triggers), return_exceptions=return_exceptions)
        return await asyncio.wait_for(events, seconds)

    return asyncio.run(run())


def clock_of(local_aws: Any, sleep: Callable[[float], Any] | None = None) -> SimulatedClock:
    """
    Return the local EMR's clock.

    :param sleep: advances it by a number of seconds; by default only what is due on the clock happens meanwhile.
    """
    return SimulatedClock(lambda: float(local_aws.clock.now().timestamp()), sleep or local_aws.clock.advance)


@contextmanager
def on_clock(local_aws: Any) -> Iterator[None]:
    """Let the provider, Airflow's sensors and botocore use the local EMR's clock."""
    simulated = clock_of(local_aws)
    airflows_sensor = next(cls for cls in EipAssociationSensor.__mro__ if cls.__name__ == "BaseSensorOperator")
    with clock.used(simulated), pytest.MonkeyPatch.context() as patch:
        for module in (sys.modules[airflows_sensor.__module__], botocore.endpoint):
            patch.setattr(module, "time", simulated)
        patch.setattr(Poller, "_pause", passing(simulated.sleep))
        yield
