"""
Waits for AWS: one implementation for deferrable and blocking operators.

A wait polls AWS every ``waiter_delay`` seconds, less often while AWS does not answer, until the verdict is final or the
deadline has passed. A deferred wait runs in the triggerer, where a poller judges it together with others. Otherwise the
operator calls :meth:`WatchTrigger.block` in its worker. Both return the same event:

``{"status": "done" | "failed" | "timeout", "message": str, "data": {…}, "hint": {…}}``

``hint`` is what the operator passed in. The trigger keeps its own deadline because a deferral that Airflow times out
loses its hint.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import TASK_IS_OVER, BaseTrigger, TriggerEvent, task_state
from airflow_eip_provider.aws.errors import is_expired, is_transient
from airflow_eip_provider.exceptions import CredentialsExpiredError
from airflow_eip_provider.triggers.backoff import Backoff
from airflow_eip_provider.triggers.collector import without_collections
from airflow_eip_provider.triggers.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Future

    from airflow_eip_provider.triggers.connection import Connection
    from airflow_eip_provider.triggers.observed import ClientFor, Observed, Wants

# A poll that is due at the deadline may still be running then. This is how long it may take; Airflow's own timeout of
# the deferral comes later.
_LAST_ANSWER_SECONDS = 30.0
# A poll may be made this part of its delay earlier, together with the polls of other waits. With a half or more,
# all waits with the same delay end up being polled together. For the first poll, and after an error, half a delay is
# too early.
_EARLY, _EARLY_AT_FIRST = 0.5, 0.1


@dataclass(kw_only=True, eq=False, repr=False)
class WatchTrigger(BaseTrigger):
    """
    Poll AWS until the verdict is final. Only :meth:`on_kill` changes anything.

    :param waiter_delay: seconds between two polls; the first poll comes after one delay, because the operator has just
        polled.
    :param deadline: seconds since the epoch, after which the wait reports a timeout.
    :param hint: plain JSON for the operator's next phase, returned in the event.
    :param undo: what has to be undone if the task is killed now; see
        :func:`~airflow_eip_provider.triggers.undo.as_stored`.
    """

    waiter_delay: float
    deadline: float
    hint: dict[str, Any] | None = None
    undo: tuple[str, dict[str, Any]] | None = None
    aws_conn_id: str | None = "aws_default"
    region_name: str | None = None
    verify: bool | str | None = None
    botocore_config: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.hint = self.hint or {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the plain JSON parameters that rebuild this trigger."""
        cls = type(self)
        return f"{cls.__module__}.{cls.__qualname__}", {field.name: getattr(self, field.name) for field in fields(self)}

    def announce(self, wants: Wants) -> None:
        """Add what :meth:`judge` will read, so that one call can answer for many waits; optional."""

    def judge(self, observed: Observed) -> Verdict:
        """Return the verdict on what is observed now; called in a thread of the triggerer, or in the worker."""
        raise NotImplementedError

    async def complete(self, verdict: Verdict) -> Verdict:
        """Add to a verdict what is not read from AWS; called in the event loop of the triggerer."""
        return verdict

    @property
    def connection(self) -> Connection:
        """The connection that this wait polls through; waits with equal ones share clients and calls."""
        from airflow_eip_provider.triggers.connection import AwsConnection  # noqa: PLC0415 - only a wait needs it

        return AwsConnection.of(**self._hook_parameters)

    def block(self, client_for: ClientFor, *, renew: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """
        Wait in a worker, in the calling thread, and return the event's payload.

        :param client_for: makes a client by service and region; called once for each, and again after the credentials
            have expired.
        :param renew: drops what ``client_for`` caches, so that it reads the credentials again.
        :raises CredentialsExpiredError: when two polls in succession find that the credentials have expired.
        """
        from airflow_eip_provider.triggers.observed import Clients, Observed, Wants  # noqa: PLC0415 - only a wait needs it

        polls, clients = _Polls(self), Clients(client_for)
        while polls.is_pending:
            clock.sleep(polls.next_delay())
            try:
                wants = Wants()
                self.announce(wants)
                polls.answered(self.judge(Observed(clients, wants=wants)))
            except Exception as error:
                polls.failed(error)
                if polls.has_expired:
                    renew()
                    clients = Clients(client_for)
        return self.payload(polls.last)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Wait in the triggerer, with all other waits on the same connection.

        :raises CredentialsExpiredError: when two polls in succession find that the credentials have expired.
        """
        try:
            await asyncio.shield(asyncio.wrap_future(_polling_imports()))
        except Exception:
            _polling_imports.cache_clear()  # the next wait tries again
            raise
        from airflow_eip_provider.triggers.poller import Poller  # noqa: PLC0415 - only a wait needs it

        polls, early, is_new = _Polls(self), _EARLY_AT_FIRST, True
        async with Poller.joined(self.connection) as poller:
            while polls.is_pending:
                after = polls.next_delay(poller.chance)
                try:
                    async with asyncio.timeout(polls.seconds_left + _LAST_ANSWER_SECONDS) as patience:
                        verdict = await poller.poll(self, after=after, early=early * after, is_new=is_new)
                        polls.answered(await self.complete(verdict))
                    early = _EARLY
                except Exception as error:
                    if patience.expired():
                        break
                    polls.failed(error)
                    early = _EARLY_AT_FIRST
                is_new = False
        yield TriggerEvent(self.payload(polls.last))  # type: ignore[no-untyped-call]

    def payload(self, last: Verdict) -> dict[str, Any]:
        """Return the payload of the event for the last verdict; a pending one has timed out."""
        event = {**asdict(last), "hint": self.hint}
        return {**event, "status": "timeout"} if last.status == "pending" else event

    async def on_kill(self) -> None:
        """
        Undo what the task did, if the task was marked failed or succeeded, or deleted with its run (Airflow >= 3.3).

        Airflow also calls this after a clear. The next try may already run then, and continue with what exists.
        """
        if self.undo is None:
            return
        state = await sync_to_async(task_state, thread_sensitive=False)(self.task_instance)
        if state not in TASK_IS_OVER:
            self.log.info("The task is %s, so it may still use what it created; nothing is undone", state)
            return
        kind, what = self.undo
        self.log.info("The task is %s; undoing what it did: %s", state, kind)
        # A stale copy of this trigger may be killed after the task has continued and succeeded.
        await sync_to_async(self.undo_now, thread_sensitive=False)(kind, what, spare_handed_over=state == "success")

    def undo_now(self, kind: str, what: dict[str, Any], *, spare_handed_over: bool) -> None:
        """Undo what the task did, in a thread of the triggerer; see :func:`~.undo.undo_stored`."""
        from airflow_eip_provider.triggers.undo import undo_stored  # noqa: PLC0415 - only a wait needs it

        undo_stored(kind, what, connection=self._hook_parameters, spare_handed_over=spare_handed_over)

    @property
    def _hook_parameters(self) -> dict[str, Any]:
        return {
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "config": self.botocore_config,
        }


@functools.cache
def _polling_imports() -> Future[None]:
    """
    Import what a deferred wait needs, once in a process and in a thread: the event loop would be blocked for 0.2 s.

    All waits that start meanwhile continue together, so they still share their first calls to AWS.
    """

    def load() -> None:
        with without_collections():
            for name in ("connection", "poller"):
                importlib.import_module(f"airflow_eip_provider.triggers.{name}")

    return ThreadPoolExecutor(1).submit(load)


class _Polls:
    """
    The polls of one wait: when the next one is due, and what the last one returned.

    :ivar has_expired: the last poll failed because the credentials have expired.
    """

    def __init__(self, wait: WatchTrigger) -> None:
        self.has_expired = False
        self._wait = wait
        self._backoff = Backoff(wait.waiter_delay)
        self.last = Verdict("pending", "not polled yet")

    @property
    def seconds_left(self) -> float:
        return max(self._wait.deadline - clock.time(), 0.0)

    @property
    def is_pending(self) -> bool:
        return self.last.status == "pending" and self.seconds_left > 0

    def next_delay(self, chance: float | None = None) -> float:
        return min(self._backoff.seconds(chance), self.seconds_left)

    def answered(self, verdict: Verdict) -> None:
        self._wait.log.info("%s", verdict.message)
        self._backoff.answered()
        self.last, self.has_expired = verdict, False

    def failed(self, error: Exception) -> None:
        """Record a poll without an answer; raise the error if another poll cannot succeed."""
        expired = is_expired(error)
        if expired and self.has_expired:
            raise CredentialsExpiredError(self._wait.aws_conn_id, problem=str(error)) from error
        if not expired and not is_transient(error):
            raise error
        reason = "The credentials have expired, reading them again" if expired else "AWS did not answer, polling again"
        self._wait.log.warning("%s: %s", reason, error)
        self._backoff.missed()
        self.last, self.has_expired = Verdict("pending", f"no answer from AWS: {error}"), expired
