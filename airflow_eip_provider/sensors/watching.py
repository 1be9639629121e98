"""The base of the sensors: a sensor polls once, then waits in the worker or in the triggerer."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    execution_seconds,
)
from airflow_eip_provider.aws.errors import is_expired, is_transient
from airflow_eip_provider.exceptions import CredentialsExpiredError, PermanentError
from airflow_eip_provider.hooks.eip import ElasticIpHook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.exceptions import ElasticIpError
    from airflow_eip_provider.hooks.aws import AwsHooks
    from airflow_eip_provider.triggers.verdict import Verdict
    from airflow_eip_provider.triggers.watch import WatchTrigger

_SHORTEST_DEFERRAL_SECONDS = 10
_DEFERRAL_MARGIN = timedelta(minutes=2)


@contextmanager
def _permanent_errors_fail() -> Iterator[None]:
    """
    Let a permanent error fail the task, even with ``soft_fail``, which skips the task after any error.

    A wrong parameter is wrong every day, and a skipped task would hide it.
    """
    try:
        yield
    except AirflowSkipException as skip:
        if isinstance(skip.__cause__, AirflowFailException):
            raise skip.__cause__ from skip.__cause__.__cause__
        raise


class WatchingSensor(AwsBaseSensor[ElasticIpHook]):
    """
    Polls until there is a verdict, and returns its data.

    Subclasses define ``poll``, ``trigger``, and ``error_of`` if a verdict can be "failed".
    """

    aws_hook_class = ElasticIpHook
    no_answer: ClassVar[str] = "No answer this time: %s"

    deferrable: bool
    _data: Any

    def poll(self) -> Verdict:
        """Poll once; a ``PermanentError`` fails the task."""
        raise NotImplementedError

    def trigger(self, *, waiter_delay: float, deadline: float) -> WatchTrigger:
        """Return the trigger of the wait."""
        raise NotImplementedError

    def error_of(self, data: dict[str, Any]) -> ElasticIpError:
        """Return the error of a "failed" verdict."""
        raise NotImplementedError

    def fail(self, error: ElasticIpError) -> NoReturn:
        """Fail without a retry; with ``soft_fail`` skip the task, unless the error is permanent."""
        if self.soft_fail and not isinstance(error, PermanentError):
            raise AirflowSkipException(str(error)) from error
        raise AirflowFailException(str(error)) from error

    @property
    def aws(self) -> AwsHooks:
        """The AWS hooks of the sensor's connection; created once per process."""
        if "_aws" not in self.__dict__:
            from airflow_eip_provider.hooks.aws import AwsHooks

            self.__dict__["_aws"] = AwsHooks.of(self)
        return self.__dict__["_aws"]  # type: ignore[no-any-return]

    def watch(self, *, waiter_delay: float, deadline: float) -> dict[str, Any]:
        """Return the parameters that all triggers share."""
        return {
            "waiter_delay": waiter_delay,
            "deadline": deadline,
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "botocore_config": self.botocore_config,
        }

    def judge(self, status: str, data: dict[str, Any]) -> bool:
        """Keep the data of a verdict, and return whether it ends the wait; fail if it is "failed"."""
        if status == "failed":
            self.fail(self.error_of(data))
        self._data = data
        return status == "done"

    def execute(self, context: Context) -> Any:
        """Poll once, then wait in the worker or in the triggerer; the result is the same."""
        if not self.deferrable:
            with _permanent_errors_fail():
                super().execute(context)
        elif not self.poke(context):
            self.defer(
                trigger=self.trigger(
                    waiter_delay=max(float(self.poke_interval), _SHORTEST_DEFERRAL_SECONDS),
                    deadline=clock.time() + self._seconds,
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=self._seconds) + _DEFERRAL_MARGIN,
            )
        return self._data

    @property
    def _seconds(self) -> float:
        """The longest wait in the triggerer, where Airflow 3 does not apply ``execution_timeout``."""
        capped = execution_seconds(self)
        return float(self.timeout) if capped is None else min(float(self.timeout), capped)

    def poke(self, context: Context) -> bool:
        """Poll once; fail when the wait can no longer succeed."""
        try:
            verdict = self._poll_with_fresh_credentials()
        except PermanentError as error:
            self.fail(error)
        except Exception as error:
            if not is_transient(error):
                raise
            self.log.warning(self.no_answer, error)
            return False
        self.log.info("%s", verdict.message)
        return self.judge(verdict.status, verdict.data)

    def _poll_with_fresh_credentials(self) -> Verdict:
        """Poll, and once more with new clients if the session token has expired."""
        try:
            return self.poll()
        except Exception as error:
            if not is_expired(error):
                raise
            self.log.warning("The credentials have expired, reading them again: %s", error)
        self.aws.renew()
        try:
            return self.poll()
        except Exception as error:
            if is_expired(error):
                raise CredentialsExpiredError(self.aws_conn_id, problem=str(error)) from error
            raise

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral."""
        with _permanent_errors_fail():
            return super().resume_execution(next_method, next_kwargs, context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Judge the event of the trigger."""
        if event["status"] == "timeout":
            if self._seconds < float(self.timeout):
                raise AirflowTaskTimeout(
                    f"execution_timeout ({self.execution_timeout}) has passed; last seen: {event['message']}"
                )
            message = f"Sensor has timed out; last seen: {event['message']}"
            if self.soft_fail:
                raise AirflowSkipException(message)
            raise AirflowSensorTimeout(message)
        self.judge(event["status"], event["data"])
        return self._data
