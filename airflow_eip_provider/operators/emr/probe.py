"""The egress probe as a task; ``StaticIpCluster.probe_egress`` creates it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.egress_probe import egress_probe_step, is_known
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.literals import parse_literal
from airflow_eip_provider.operators.emr.steps import EmrAddStepsWithStaticIpOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TEXTS = ("public_ip", "echo_url", "name", "action_on_failure")  # one argument each, rendered or not
_ANY_SERVER = "server.invalid"  # a placeholder for unknown servers
_NUMBERS = frozenset({"executors", "wait_seconds", "timeout_seconds"})


class EgressProbeOperator(EmrAddStepsWithStaticIpOperator):
    """
    Run the egress probe.

    The known parameters are checked when the DAG file is parsed, and all of them before the step is submitted.

    :param probe: the parameters of ``egress_probe_step``; ``servers`` may be a string that contains a list, and numbers
        may be strings. (templated)
    """

    template_fields: Sequence[str] = (*EmrAddStepsWithStaticIpOperator.template_fields, "probe")

    def __init__(self, *, probe: Mapping[str, Any], **kwargs: Any) -> None:
        known = {name: value for name, value in probe.items() if is_known(value) or name in _TEXTS}
        steps = [egress_probe_step(**{"servers": [_ANY_SERVER], **known})]
        super().__init__(steps=steps if known.keys() == probe.keys() else [], **kwargs)
        self.probe = dict(probe)

    def _checked_steps(self) -> list[dict[str, Any]]:
        parameters = {**self.probe, **{name: parse_literal(self.probe[name]) for name in _NUMBERS & self.probe.keys()}}
        servers: Any = parse_literal(self.probe.get("servers", ()))
        if isinstance(servers, str):
            servers = [servers] if servers else []
        try:
            parameters["servers"] = list(servers)
        except TypeError as error:
            raise InvalidInputError(
                "checking servers",
                problem=f"this is {type(servers).__name__}, not a list",
                remedy="give a list of HOST[:PORT][/DATABASE], or a template or a task's output that becomes one",
            ) from error
        self.steps = [egress_probe_step(**parameters)]
        return super()._checked_steps()
