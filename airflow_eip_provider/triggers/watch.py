"""
Waiting for AWS, written once for both modes.

A wait is judged every ``waiter_delay`` seconds, and less often while AWS does not answer, until the judgement is
conclusive or its deadline has passed. Deferred, it runs in the triggerer, where a poller judges it together with
others; otherwise the operator calls :meth:`WatchTrigger.block` in its worker. Both give the same event:

``{"status": "done" | "failed" | "timeout", "message": str, "data": {…}, "hint": {…}}``

``hint`` is what the operator put in, echoed. The deadline is kept here, because a deferral that Airflow itself times
out loses everything that it carried.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import TASK_IS_OVER, BaseTrigger, TriggerEvent, task_state
from airflow_eip_provider.aws.errors import is_expired, is_transient
from airflow_eip_provider.exceptions import CredentialsExpiredError
from airflow_eip_provider.triggers.backoff import Backoff
from airflow_eip_provider.triggers.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from airflow_eip_provider.triggers.connection import Connection
    from airflow_eip_provider.triggers.observed import ClientFor, Observed, Wants

# A judgement that is due at the deadline may still be under way then; what AWS does not answer within this is not
# waited for. Airflow's own timeout of the deferral comes later.
_LAST_ANSWER_SECONDS = 30.0
# By what part of its delay a wait may be judged earlier, to be judged together with others. With a half or more, all
# waits with the same delay come to be judged together; the first time, and after AWS gave no answer, that is too early.
_EARLY, _EARLY_AT_FIRST = 0.5, 0.1


@dataclass(kw_only=True, eq=False, repr=False)
class WatchTrigger(BaseTrigger):
    """
    Look at AWS until something is decided; change nothing, but for :meth:`on_kill`.

    :param waiter_delay: seconds between two looks; the first look comes after one delay, as whoever waits has
        just looked.
    :param deadline: seconds since the epoch, after which the watch reports a timeout.
    :param hint: plain JSON for the operator's next phase, echoed in the event.
    :param undo: what the task has to undo when it is killed now; see
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
        names = [parameter.name for parameter in fields(self)]
        return f"{cls.__module__}.{cls.__qualname__}", {name: getattr(self, name) for name in names}

    def announce(self, wants: Wants) -> None:
        """Say what the judgement will ask for, so that one call can answer for many waits; the rest is asked singly."""

    def judge(self, observed: Observed) -> Verdict:
        """Judge what is observed at one moment; called in a thread of the triggerer, or in the worker."""
        raise NotImplementedError

    async def complete(self, found: Verdict) -> Verdict:
        """Add to a judgement what is not asked of AWS; called in the event loop of the triggerer after each one."""
        return found

    @property
    def connection(self) -> Connection:
        """What this wait looks through: those with equal ones share clients and calls."""
        from airflow_eip_provider.triggers.connection import AwsConnection  # noqa: PLC0415 - only a wait needs it

        return AwsConnection.of(**self._connection)

    def block(self, client_for: ClientFor, *, renew: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """
        Wait in a worker, in the calling thread, and return the event's payload.

        :param client_for: makes a client, by service and region; once each, and once more when the credentials have
            expired.
        :param renew: drops what ``client_for`` keeps, so that it reads the credentials again.
        :raises CredentialsExpiredError: when those have expired, too.
        """
        from airflow_eip_provider.triggers.observed import Clients, Observed, Wants  # noqa: PLC0415 - only a wait needs it

        last, pause = Verdict("pending", "not looked at yet"), Backoff(self.waiter_delay)
        clients, renewed = Clients(client_for), False
        while (left := self.deadline - clock.time()) > 0:
            clock.sleep(min(pause.seconds(), left))
            try:
                wants = Wants()
                self.announce(wants)
                last = self._report(self.judge(Observed(clients, wants=wants)))
                pause.answered()
                renewed = False
            except Exception as error:
                last = self._tolerate(error, renewed=renewed)
                pause.missed()
                if is_expired(error):
                    renew()
                    clients, renewed = Clients(client_for), True
            if last.status != "pending":
                return self._payload(last)
        return self._timeout(last)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Wait in the triggerer, with all others that look through the same connection.

        :raises CredentialsExpiredError: when they have expired, and those that were read anew, too.
        """
        from airflow_eip_provider.triggers.poller import Poller  # noqa: PLC0415 - only a wait needs it

        last, pause = Verdict("pending", "not looked at yet"), Backoff(self.waiter_delay)
        async with Poller.joined(self.connection) as poller:
            renewed, early, is_new = False, _EARLY_AT_FIRST, True
            while (left := self.deadline - clock.time()) > 0:
                after = min(pause.seconds(poller.chance), left)
                try:
                    async with asyncio.timeout(left + _LAST_ANSWER_SECONDS) as patience:
                        found = await poller.poll(self, after=after, early=early * after, is_new=is_new)
                        last = self._report(await self.complete(found))
                    pause.answered()
                    renewed, early = False, _EARLY
                except Exception as error:
                    if patience.expired():
                        break
                    last = self._tolerate(error, renewed=renewed)
                    pause.missed()
                    renewed, early = is_expired(error), _EARLY_AT_FIRST
                is_new = False
                if last.status != "pending":
                    yield TriggerEvent(self._payload(last))  # type: ignore[no-untyped-call]
                    return
        yield TriggerEvent(self._timeout(last))  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """
        Undo what the task did, if it is over: marked failed or succeeded, or deleted with its run (Airflow >= 3.3).

        Airflow calls this after a clear, too, when the next try may be at work already; that one goes on with what
        is there.
        """
        if self.undo is None:
            return
        state = await sync_to_async(task_state, thread_sensitive=False)(self.task_instance)
        if state not in TASK_IS_OVER:
            self.log.info("The task is %s, so it may still use what it created; nothing is undone", state)
            return
        kind, what = self.undo
        self.log.info("The task is %s; undoing what it did: %s", state, kind)
        # A stale copy of this trigger may be killed after the task has gone on and succeeded.
        await sync_to_async(self.undo_now, thread_sensitive=False)(kind, what, spare_handed_over=state == "success")

    def undo_now(self, kind: str, what: dict[str, Any], *, spare_handed_over: bool) -> None:
        """Undo what the task did, in a thread of the triggerer; see :func:`~.undo.undo_stored`."""
        from airflow_eip_provider.triggers.undo import undo_stored  # noqa: PLC0415 - only a wait needs it

        undo_stored(kind, what, connection=self._connection, spare_handed_over=spare_handed_over)

    @property
    def _connection(self) -> dict[str, Any]:
        return {
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "config": self.botocore_config,
        }

    def _report(self, verdict: Verdict) -> Verdict:
        self.log.info("%s", verdict.message)
        return verdict

    def _tolerate(self, error: Exception, *, renewed: bool = False) -> Verdict:
        """
        Take an error for a look without an answer, if the next look may have one.

        :param renewed: the credentials were read anew since the last answer.
        """
        if is_expired(error):
            if renewed:
                raise CredentialsExpiredError(self.aws_conn_id, problem=str(error)) from error
            self.log.warning("The credentials have expired, reading them again: %s", error)
        elif not is_transient(error):
            raise error
        else:
            self.log.warning("AWS gave no answer this time, looking again later: %s", error)
        return Verdict("pending", f"no answer from AWS: {error}")

    def _payload(self, verdict: Verdict) -> dict[str, Any]:
        return {**asdict(verdict), "hint": self.hint}

    def _timeout(self, last: Verdict) -> dict[str, Any]:
        return {"status": "timeout", "message": last.message, "data": last.data, "hint": self.hint}
