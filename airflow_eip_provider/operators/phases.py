"""
The phases of an operator: how it runs, waits, resumes and cleans up in Airflow.

:meth:`PhasedOperator.advance` reads from AWS, acts, and returns what to wait for or the result. A wait blocks the
worker or is deferred; in both cases ``advance`` is called again afterwards, and reads from AWS what it needs. The state
in a deferral is only a hint.

Airflow imports the modules of operators whenever it parses a DAG file. Therefore a function imports what only a running
task needs, such as the lease, triggers, preflight checks and the functions on AWS clients. A task imports all of it
when it starts to run: ``operators.run_imports``.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from airflow.providers.amazon.aws.links.emr import EmrClusterLink, EmrLogsLink

from airflow_eip_provider import clock, metrics, spans
from airflow_eip_provider.airflow_compat import (
    TRIGGER_FAIL_REPR,
    AirflowFailException,
    AirflowTaskTimeout,
    TaskDeferred,
    execution_seconds,
)
from airflow_eip_provider.aws.errors import is_expired, is_transient
from airflow_eip_provider.exceptions import (
    AddressLostError,
    CredentialsExpiredError,
    ElasticIpError,
    KilledError,
    LeaseLostError,
    NotBoundError,
    NotLeasedError,
    PermanentError,
    SubmissionCancelledError,
    WaitTimeoutError,
)
from airflow_eip_provider.kill_flag import KillFlag
from airflow_eip_provider.links.eip import ElasticIpLink
from airflow_eip_provider.notifications import Notifying
from airflow_eip_provider.operators.addressed import Addressed
from airflow_eip_provider.operators.lease_settings import lock_store_uri

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.hooks.aws import AwsHooks
    from airflow_eip_provider.hooks.eip import ElasticIpHook
    from airflow_eip_provider.hooks.emr import EmrClusterHook
    from airflow_eip_provider.lease_client.interface import LeaseClient, LeaseQueue, Undo
    from airflow_eip_provider.triggers.observed import Observed
    from airflow_eip_provider.triggers.verdict import Verdict
    from airflow_eip_provider.triggers.watch import WatchTrigger

# A trigger that fires within seconds can lose a race inside Airflow (apache/airflow#66374).
SHORTEST_DEFERRAL_SECONDS = 10
_MAX_RETRIES = 6
_PAUSE_SECONDS = 15
_LONGEST_PAUSE_SECONDS = 60
# The trigger keeps the deadline; Airflow's own timeout is the fallback.
_DEFERRAL_MARGIN = timedelta(minutes=2)
# Airflow 3 sends SIGKILL five seconds after SIGTERM.
KILL_SECONDS = 4.0
# A task needs the address, but its cluster does not have it, or not its lease.
LOST_ERRORS = (AddressLostError, LeaseLostError, NotBoundError, NotLeasedError, SubmissionCancelledError)
CLUSTER_LINKS = (EmrClusterLink(), EmrLogsLink(), ElasticIpLink())


@dataclass(slots=True)
class State:
    """
    What an operator knows between two phases; ``asdict`` makes plain JSON of it.

    :param execution_deadline: the end of ``execution_timeout``, in seconds since the epoch.
    :param capped: the next wait ends at ``execution_deadline``, before its own deadline.
    :param told: the metrics and notifications that this try has sent already; each is sent once.
    :param allocation_id: the task's address if the parameter names several, and empty if the task has none of them;
        else ``None``.
    """

    try_number: int
    execution_deadline: float | None = field(default=None, kw_only=True)
    capped: bool = field(default=False, kw_only=True)
    told: list[str] = field(default_factory=list, kw_only=True)
    allocation_id: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an operator."""

    value: Any


def wait_timed_out(waiting_for: str, event: dict[str, Any]) -> WaitTimeoutError:
    """Return the error of a wait that ended after ``wait_seconds``."""
    return WaitTimeoutError(waiting_for, last_seen=event["message"], bound="waiter_delay or waiter_max_attempts")


def _import_for_run() -> None:
    """Import what a task needs to run and to clean up, before it changes anything."""
    from airflow_eip_provider.operators import run_imports  # noqa: F401 - imported for the side effect


class _Retries:
    """
    The retries within one try: for some minutes; after that Airflow's own retries apply.

    :param renew: creates new clients. Called once for expired credentials; the next attempt follows immediately.
    """

    def __init__(self, renew: Callable[[Exception], None]) -> None:
        from airflow_eip_provider.triggers.backoff import Backoff

        self._renew = renew
        self._renewed = False
        self._backoff = Backoff(_PAUSE_SECONDS, most=_LONGEST_PAUSE_SECONDS)
        self._count = 0

    def pause_after(self, error: Exception) -> float | None:
        """Return the pause before the next attempt in seconds; ``None`` for no further attempt."""
        if is_expired(error) and not self._renewed:
            self._renewed = True
            self._renew(error)
            return 0
        self._count += 1
        self._backoff.missed()
        return self._backoff.seconds() if self._count <= _MAX_RETRIES and is_transient(error) else None


class PhasedOperator(Addressed, Notifying):
    """
    The phases shared by all operators; mixed into an ``AwsBaseOperator``.

    Subclasses define ``state_class``, ``begin``, ``advance`` and ``to_undo``.
    """

    state_class: ClassVar[type[State]]
    permanent_errors: ClassVar[tuple[type[ElasticIpError], ...]] = (PermanentError,)
    lock_store: Any
    deferrable: bool
    waiter_delay: Any
    waiter_max_attempts: Any
    aws_conn_id: str | None
    region_name: str | None
    verify: bool | str | None
    botocore_config: dict[str, Any] | None
    log: Any

    _context: Context | None = None
    _state: Any = None
    _undone = False
    _finished = False
    _is_final = False

    @property
    def may_have_changed(self) -> bool:
        """Whether the first phase may have changed AWS before it failed."""
        return False

    def begin(self, context: Context) -> Any:
        """Check the parameters and return the first state."""
        raise NotImplementedError

    def advance(self, context: Context, state: Any, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """Read from AWS, act, and return what to wait for or the result."""
        raise NotImplementedError

    def may_be_retried(self, context: Context) -> bool:
        """Whether Airflow may run a newer try while this one ends; not after a kill."""
        return not self.kill.is_set and context["ti"].try_number <= context["ti"].max_tries

    def is_retried(self, context: Context) -> bool:
        """Whether Airflow retries the task if this try fails with its error."""
        return self.may_be_retried(context) and not self._is_final

    def to_undo(self, context: Context, state: Any | None) -> Undo | None:
        """Return what this try must undo; ``state`` is ``None`` when it was lost."""
        return None

    def undo(self, context: Context, state: Any | None) -> None:
        """Clean up after a failure; idempotent."""
        undo = self.to_undo(context, state)
        if undo is not None:
            self.lease_queue.undo(undo)

    def what_is_left(self) -> str:
        """Return what may be left when a clean-up fails, for the log."""
        return "'airflow-eip status' and 'airflow-eip reap' show what is left"

    def pre_execute(self, context: Any) -> None:
        """Keep the context: Airflow may call ``on_kill`` on an instance that executed nothing."""
        self._context = context
        super().pre_execute(context)  # type: ignore[misc]

    def execute(self, context: Context, **_safeguard: Any) -> Any:
        """
        Run from the start, or up to the first deferral.

        Airflow 2 passes its ExecutorSafeguard's mark, which it removes only for an operator's own ``execute``.
        """
        _import_for_run()
        return self._live(context, None, None)

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """Continue after a deferral; start again if an older try deferred (Airflow 3.0 resumes it, #56704)."""
        hint = event["hint"]
        if hint.get("try_number") != context["ti"].try_number:
            self.log.info("This deferral is of try %s; starting again from the beginning", hint.get("try_number"))
            return self.execute(context)
        return self._live(context, self.state_class(**hint), event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Clean up after a deferral that timed out or whose trigger failed, in every Airflow version."""
        _import_for_run()
        self._context = context
        if next_method == TRIGGER_FAIL_REPR:
            self.log.error("The deferred wait ended without an event; undoing what this task did")
            self._undo_quietly(context, None)
        return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]

    def on_kill(self) -> None:
        """
        Undo what this task did; continue in the background if it takes longer than Airflow waits.

        On Airflow 3 ``execute`` continues after this, so it checks the kill flag. This runs in a signal handler: the
        interrupted code may hold a lock that the cleanup needs, so the cleanup runs in another thread.

        :raises KilledError: when ``execute`` has checked the flag for the last time: a kill is never a success.
        """
        self.kill.is_set = True
        if self._context is None or self._undone:  # Airflow also calls this after a timeout whose cleanup is done
            return
        undoing = threading.Thread(target=self._undo_quietly, args=(self._context, self._state), daemon=True)
        undoing.start()
        undoing.join(KILL_SECONDS)
        if undoing.is_alive():
            self.log.warning(
                "Cleaning up takes longer than %s s; it continues while this process runs. What is left is cleaned up "
                "by the retry, the next owner of the address, or EMR's idle termination",
                KILL_SECONDS,
            )
        if self._finished:
            raise KilledError(self.address_text)

    @property
    def kill(self) -> KillFlag:
        """The kill flag of this task."""
        if "_kill" not in self.__dict__:
            self.__dict__["_kill"] = KillFlag(self.address_text)
        return self.__dict__["_kill"]  # type: ignore[no-any-return]

    def _live(self, context: Context, state: Any, event: dict[str, Any] | None) -> Any:
        """Advance and wait until there is a result; retry transient errors from the current state."""
        self._context, self._state, self._named = context, state, self.allocation_id
        if state is not None:
            self.restore_address(context, state)
        resumed, started, retries = state is not None, clock.time(), _Retries(self._renew)
        try:
            while True:
                try:
                    self._prepare(context, event, started=started)
                    outcome = self.advance(context, self._state, event)
                except Exception as error:
                    self._pause_after(error, retries)
                    continue
                self._finished = isinstance(outcome, Result)  # before the last check: a kill may come in between
                self.kill.check()
                if isinstance(outcome, Result):
                    return outcome.value
                event, retries = self._wait(outcome), _Retries(self._renew)
                self.kill.check()
        except TaskDeferred:
            raise
        except BaseException as error:
            self._is_final = isinstance(error, (*self.permanent_errors, AirflowFailException))
            self._undo_quietly(context, self._state, after=None if resumed else error)
            if isinstance(error, LOST_ERRORS):
                self.count(metrics.LOST)
                self.notify(context, self.on_lost, "lost", once="lost", message=str(error))
            if isinstance(error, self.permanent_errors):
                raise AirflowFailException(str(error)) from error
            raise
        finally:
            metrics.flush()

    @property
    def wait_seconds(self) -> float:
        """The longest wait: ``waiter_delay`` times ``waiter_max_attempts``."""
        return float(self.waiter_delay) * int(self.waiter_max_attempts)

    def measure(self, state: State, metric: metrics.Metric, seconds: float) -> None:
        """Send a duration, once per try; nothing for a task without an address."""
        if self.allocation_id and metric.name not in state.told:
            state.told.append(metric.name)
            metrics.send(metric, seconds, allocation_id=self.allocation_id, dag_id=self._dag_id)
            if metric in metrics.PHASES:
                tags = metrics.tags_of(self.allocation_id, self._dag_id)
                spans.record(metric.name.removesuffix(".seconds"), seconds, tags)

    def count(self, metric: metrics.Metric) -> None:
        """Increment a counter."""
        metrics.send(metric, allocation_id=self.address_text, dag_id=self._dag_id)

    @property
    def _dag_id(self) -> str | None:
        return None if self._context is None else self._context["ti"].dag_id

    def _prepare(self, context: Context, event: dict[str, Any] | None, *, started: float) -> None:
        """
        Begin if this try has not begun yet, and end a wait that was capped.

        :param started: when this process began to run the task, in seconds since the epoch.
        """
        if self._state is None:
            self.follow_address()
            state = self.begin(context)
            if self._named_several and (self.allocation_id is None or isinstance(self.allocation_id, str)):
                state.allocation_id = self.allocation_id or ""
            if (seconds := execution_seconds(self)) is not None:
                state.execution_deadline = started + seconds
            self._state = state
        if event is not None and event["status"] == "timeout" and self._state.capped:
            self._fail_out_of_time(event["message"])

    def _pause_after(self, error: Exception, retries: _Retries) -> None:
        """Pause before the next attempt; raise the error if there is none."""
        pause = retries.pause_after(error)
        if pause is None and is_expired(error):
            raise CredentialsExpiredError(self.aws_conn_id, problem=str(error)) from error
        if pause is None:
            raise error
        self.kill.check()
        if pause:
            self.log.warning("AWS gave no answer, trying again in %.0f s: %s", pause, error)
            self.kill.pause(pause)

    def _fail_out_of_time(self, last_seen: str) -> NoReturn:
        """Raise Airflow's error for ``execution_timeout``, which Airflow 3 ignores in a deferral."""
        limit = self.execution_timeout  # type: ignore[attr-defined]
        raise AirflowTaskTimeout(
            f"execution_timeout ({limit}) has passed, what this task did is undone; last seen: {last_seen}"
        )

    def _renew(self, error: Exception) -> None:
        self.log.warning("The credentials have expired, reading them again: %s", error)
        self._forget_clients()

    def _forget_clients(self) -> None:
        """Drop every hook and client, so that the next call reads the credentials again."""
        self.aws.renew()
        for cached in ("_lease_queue", "hook"):
            self.__dict__.pop(cached, None)

    def _wait(self, trigger: WatchTrigger) -> dict[str, Any]:
        if self.deferrable:
            deadline = self._state.execution_deadline
            if deadline is not None and clock.time() >= deadline:
                self._fail_out_of_time("it was about to wait again")
            raise TaskDeferred(
                trigger=trigger,
                method_name="resume",
                timeout=timedelta(seconds=max(trigger.deadline - clock.time(), 0)) + _DEFERRAL_MARGIN,
            )
        return trigger.block(self.aws.client_for, renew=self._forget_clients)

    def _undo_quietly(self, context: Context, state: Any | None, *, after: BaseException | None = None) -> None:
        """
        Undo, log errors, and retry while AWS does not answer, unless this process is about to be killed.

        :param after: the error of the first phase. If undoing fails with the same error while there is no state, the
            first phase has changed nothing.
        """
        retries = _Retries(self._renew)
        while True:
            try:
                self.undo(context, state)
            except Exception as error:
                unchanged = state is None and not self.may_have_changed
                if unchanged and after is not None and repr(error) == repr(after):
                    self.log.info("There is nothing to clean up: this try failed before it changed anything")
                    return
                pause = None if self.kill.is_set else retries.pause_after(error)
                if pause is None:
                    self.log.exception("Cleaning up after the failure above failed as well; %s", self.what_is_left())
                    return
                self.log.warning("AWS gave no answer, cleaning up again in %.0f s: %s", pause, error)
                clock.sleep(pause)
            else:
                self._undone = True
                return

    def watch(self, state: State, *, deadline: float) -> dict[str, Any]:
        """Return the parameters that all triggers of this operator share."""
        delay = float(self.waiter_delay)
        if self.deferrable and state.execution_deadline is not None:
            state.capped = state.execution_deadline < deadline
            if state.capped:
                deadline = max(state.execution_deadline, clock.time() + SHORTEST_DEFERRAL_SECONDS)
        return {
            "waiter_delay": max(delay, SHORTEST_DEFERRAL_SECONDS) if self.deferrable else delay,
            "deadline": deadline,
            "hint": asdict(state),
            "undo": self._stored_undo(state),
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "botocore_config": self.botocore_config,
        }

    def _stored_undo(self, state: State) -> tuple[str, dict[str, Any]] | None:
        from airflow_eip_provider.triggers.undo import as_stored

        undo = self.to_undo(cast("Context", self._context), state)
        if undo is None or undo.step_ids is not None:
            return as_stored(undo, allocation_id=self.allocation_id, lock_store=None)
        return as_stored(undo, allocation_id=self.allocation_id, lock_store=self.lease_queue.uri)

    @property
    def aws(self) -> AwsHooks:
        """The AWS hooks of the task's connection; created once per process."""
        if "_aws" not in self.__dict__:
            from airflow_eip_provider.hooks.aws import AwsHooks

            self.__dict__["_aws"] = AwsHooks.of(self)
        return self.__dict__["_aws"]  # type: ignore[no-any-return]

    @property
    def lease_client(self) -> LeaseClient:
        """The client for the lease of the address."""
        chosen = self.lease_queue.chosen
        if chosen is None:
            raise TypeError(f"this task has not acquired any of {self.allocation_id} yet")
        return chosen

    @property
    def lease_queue(self) -> LeaseQueue:
        """:attr:`lease_client`, or the pool while the task waits for any one of several addresses."""
        if "_lease_queue" not in self.__dict__:
            self.__dict__["_lease_queue"] = self.aws.lease_queue(
                lock_store_uri(self.lock_store),
                self.allocation_id,
                kill=self.kill,
                remembered=self.remembered_cluster(),
                dag_id=self._dag_id,
            )
        return self.__dict__["_lease_queue"]  # type: ignore[no-any-return]

    def remembered_cluster(self) -> str | None:
        """Return the cluster that an earlier try of this task launched and stored."""
        return None

    @property
    def eip(self) -> ElasticIpHook:
        """The Elastic IP hook."""
        return self.aws.eip

    @property
    def emr(self) -> EmrClusterHook:
        """The EMR hook."""
        return self.aws.emr

    def observe(self) -> Observed:
        """Return the AWS reads of one poll, which are made once each."""
        from airflow_eip_provider.triggers.observed import Observed

        return Observed(self.aws.client_for)

    def poll(self, judge: Callable[[Observed], Verdict], observed: Observed | None = None) -> Verdict:
        """
        Read from AWS once and judge it, from the worker.

        :param observed: earlier reads of this poll, which are not repeated.
        :raises ClusterEndedError: when the verdict says that the cluster has ended.
        """
        from airflow_eip_provider.triggers.verdict import raise_if_cluster_gone

        verdict = judge(observed or self.observe())
        raise_if_cluster_gone(verdict.data)
        return verdict

    def link_cluster(self, context: Context, job_flow_id: str, *, log_uri: str | None) -> None:
        """Store the stock links to the cluster and to its logs, if it has a log bucket."""
        where: dict[str, Any] = {
            "context": context,
            "operator": self,
            "region_name": self.emr.conn_region_name,
            "aws_partition": self.emr.conn_partition,
            "job_flow_id": job_flow_id,
        }
        EmrClusterLink.persist(**where)
        if log_uri:
            EmrLogsLink.persist(**where, log_uri=log_uri.split("://", 1)[-1].rstrip("/"))

    def link_address(self, context: Context) -> None:
        """Store the link to the Elastic IP in the EC2 console."""
        ElasticIpLink.persist(
            context=context,
            operator=self,
            region_name=self.eip.conn_region_name,
            aws_partition=self.eip.conn_partition,
            allocation_id=self.allocation_id,
        )
