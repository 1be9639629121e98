"""The egress probe as a task; ``StaticIpCluster.probe_egress`` makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.egress_probe import egress_probe_step, is_known
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.literals import parse_literal
from airflow_eip_provider.operators.emr.steps import EmrAddStepsWithStaticIpOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TEXTS = ("public_ip", "echo_url", "name", "action_on_failure")  # one argument each, rendered or not
_ANY_SERVER = "server.invalid"  # stands for those that are not known yet
_NUMBERS = ("executors", "wait_seconds", "timeout_seconds")


class EgressProbeOperator(EmrAddStepsWithStaticIpOperator):
    """
    Run the egress probe, and check its parameters when their templates are rendered, before it is submitted.

    What is known when the DAG is read is checked then.

    :param probe: the parameters of ``egress_probe_step``; ``servers`` may be a text that spells a list, and numbers may
        be texts, as templates render to. (templated)
    """

    template_fields: Sequence[str] = (*EmrAddStepsWithStaticIpOperator.template_fields, "probe")

    def __init__(self, *, probe: Mapping[str, Any], **kwargs: Any) -> None:
        known = {name: value for name, value in probe.items() if is_known(value) or name in _TEXTS}
        steps = [egress_probe_step(**{"servers": [_ANY_SERVER], **known})]
        super().__init__(steps=steps if known.keys() == probe.keys() else [], **kwargs)
        self.probe = dict(probe)

    def _checked_steps(self) -> list[dict[str, Any]]:
        self.steps = [egress_probe_step(**self._rendered())]
        return super()._checked_steps()

    def _rendered(self) -> dict[str, Any]:
        rendered = dict(self.probe)
        for name in _NUMBERS:
            if name in rendered:
                rendered[name] = parse_literal(rendered[name])
        servers = parse_literal(rendered.get("servers", ()))
        if isinstance(servers, str):
            servers = [servers] if servers else []
        try:
            rendered["servers"] = list(servers)  # type: ignore[call-overload]
        except TypeError as error:
            raise InvalidInputError(
                f"checking servers {servers!r}",
                problem="this is no list",
                remedy="give a list of HOST[:PORT][/DATABASE], or a template or a task's output that becomes one",
            ) from error
        return rendered
