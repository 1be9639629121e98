"""Replaces Airflow's scheduler, triggerer and database for one DAG run: processes, retries, deferrals, XComs."""

from __future__ import annotations

import json
import multiprocessing
import uuid
from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import comms
from airflow.sdk.serde import deserialize, serialize

from tests.verification.chaos import child, plans

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from airflow.sdk import DAG

    from tests.verification.chaos.child import Job

RETRY_SECONDS, DETECTION_SECONDS = 30, 60
# A run with more processes or simulated time than this is stuck.
_MOST_PROCESSES, _MOST_SECONDS = 150, 8 * 3600
_JOIN_SECONDS = 30


class StuckError(Exception):
    """A run does not end."""


@dataclass(slots=True)
class Ended:
    """
    The end of a process.

    :param last: its last message: a task's state, or a trigger's event; ``None`` if it was killed.
    """

    last: tuple[str, Any] | None = None


@dataclass(slots=True)
class Tries:
    """The result of a task, ``succeeded``, ``failed`` or ``skipped``, and the number of its tries."""

    state: str = "skipped"
    count: int = 0
    killed: int = 0


@dataclass(slots=True)
class Run:
    """
    One DAG run.

    :param start: makes the job of a process.
    :param advance: advances the clock by a number of simulated seconds.
    :param now: returns the simulated time, in seconds since the epoch.
    :param on_process: is called with the pid and the name of each process that starts.
    """

    dag: DAG
    start: Callable[..., Job]
    advance: Callable[[float], None]
    now: Callable[[], float]
    on_process: Callable[[int, str], None]
    tasks: dict[str, Tries] = field(default_factory=dict)
    _xcoms: dict[tuple[str, str], Any] = field(default_factory=dict)
    _states: dict[tuple[uuid.UUID, str], Any] = field(default_factory=dict)
    _processes: int = 0
    _began: float = 0.0

    def run(self) -> dict[str, Tries]:
        """
        Run the DAG to its end: a task runs if all tasks before it succeeded, the last one if the first succeeded.

        :raises StuckError: when it does not end.
        """
        self._began = self.now()
        names = list(self.dag.task_dict)
        for name in names:
            self.tasks[name] = tries = Tries()
            before = names[:1] if name == names[-1] else names[: names.index(name)]
            if all(self.tasks[other].state == "succeeded" for other in before):
                self._try(name, tries)
        return self.tasks

    def _try(self, task_id: str, tries: Tries) -> None:
        ti_id = uuid.uuid4()
        while True:
            tries.count += 1
            for key in [key for key in self._xcoms if key[0] == task_id]:
                del self._xcoms[key]  # as Airflow does before each try
            message = self._attempt(ti_id, task_id, tries.count)
            if isinstance(message, comms.SucceedTask):
                tries.state = "succeeded"
                return
            if message is None:
                tries.killed += 1
                self.advance(DETECTION_SECONDS)
            if isinstance(message, comms.TaskState) or tries.count > plans.RETRIES:
                tries.state = "failed"
                return
            self.advance(RETRY_SECONDS)

    def _attempt(self, ti_id: uuid.UUID, task_id: str, try_number: int) -> Any:
        """Run one try, with all its deferrals; return its last message, or ``None`` if its process was killed."""
        after: dict[str, Any] = {}
        while True:
            job = self.start(child.Phase, ti_id=ti_id, task_id=task_id, try_number=try_number, **after)
            ended = self._run_process(job, f"{task_id} try {try_number}")
            message = ended.last[1] if ended.last else None
            if not isinstance(message, comms.DeferTask):
                return message
            after = self._wait(task_id, message)

    def _wait(self, task_id: str, deferral: comms.DeferTask) -> dict[str, Any]:
        """Run the trigger until it fires; if the triggerer is killed, start it again."""
        timeout = deferral.trigger_timeout
        deadline = self.now() + timeout.total_seconds() if timeout else float("inf")
        job = self.start(child.Wait, classpath=deferral.classpath, kwargs=deferral.trigger_kwargs)
        ended = Ended()
        while ended.last is None:
            if self.now() >= deadline:
                return _failed("Trigger timeout")
            ended = self._run_process(job, f"{task_id}'s trigger", deadline=deadline)
        what, payload = ended.last
        if what == "failed":
            return _failed("Trigger failure")
        kwargs = {**deserialize(deferral.next_kwargs or {}), "event": json.loads(json.dumps(payload))}
        return {"next_method": deferral.next_method, "next_kwargs": serialize(kwargs)}

    def _run_process(self, job: Job, name: str, *, deadline: float = float("inf")) -> Ended:
        self._processes += 1
        if self._processes > _MOST_PROCESSES:
            raise StuckError(f"no end after {self._processes} processes, the last one is {name}")
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("forkserver").Process(target=child.run, args=(job, theirs))
        process.start()
        theirs.close()
        self.on_process(int(process.pid or 0), name)
        try:
            return self._answer_messages(ours, deadline)
        finally:
            process.kill() if deadline <= self.now() else None
            process.join(_JOIN_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()
            ours.close()

    def _answer_messages(self, pipe: Connection, deadline: float) -> Ended:
        ended = Ended()
        while True:
            try:
                kind, *content = pipe.recv()
            except (EOFError, ConnectionResetError):
                return ended
            answer: Any = None
            if kind == "sleep":
                self._sleep(content[0])
                if self.now() >= deadline:
                    return ended
            elif kind == "supervisor":
                answer = self._answer(content[0])
                if isinstance(content[0], _ENDS):
                    ended.last = (kind, content[0])
            elif kind != "now":
                ended.last = (kind, content[0])
            try:
                pipe.send(self.now() if kind == "now" else answer)
            except (BrokenPipeError, ConnectionResetError):
                return ended

    def _sleep(self, seconds: float) -> None:
        self.advance(seconds)
        if self.now() - self._began > _MOST_SECONDS:
            raise StuckError(f"no end after {_MOST_SECONDS // 3600} hours")

    @singledispatchmethod
    def _answer(self, message: Any) -> Any:
        """Answer a task's message to its supervisor."""
        if isinstance(message, (*_ENDS, comms.SetRenderedFields, comms.SetRenderedMapIndex, comms.MaskSecret)):
            return None
        raise NotImplementedError(type(message).__name__)

    @_answer.register
    def _(self, message: comms.SetXCom) -> Any:
        self._xcoms[message.task_id, message.key] = message.value

    @_answer.register
    def _(self, message: comms.GetXCom) -> Any:
        return comms.XComResult(key=message.key, value=self._xcoms.get((message.task_id, message.key)))

    @_answer.register
    def _(self, message: comms.GetXComSequenceSlice) -> Any:
        key = (message.task_id, message.key)
        return comms.XComSequenceSliceResult(root=[self._xcoms[key]] if key in self._xcoms else [])

    @_answer.register
    def _(self, message: comms.DeleteXCom) -> Any:
        self._xcoms.pop((message.task_id, message.key), None)

    @_answer.register
    def _(self, message: comms.SetTaskStateStore) -> Any:
        self._states[message.ti_id, message.key] = message.value

    @_answer.register
    def _(self, message: comms.GetTaskStateStore) -> Any:
        key = (message.ti_id, message.key)
        if key not in self._states:
            return comms.ErrorResponse(error=ErrorType.TASK_STORE_NOT_FOUND)
        return comms.TaskStateStoreResult(value=self._states[key])


_ENDS = (comms.SucceedTask, comms.RetryTask, comms.TaskState, comms.DeferTask)


def _failed(error: str) -> dict[str, Any]:
    return {"next_method": "__fail__", "next_kwargs": serialize({"error": error})}
