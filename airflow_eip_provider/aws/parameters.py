"""The types of the parameters of a request, as botocore checks them before it sends one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from botocore.validate import ParamValidator

if TYPE_CHECKING:
    from collections.abc import Mapping

_VALUE = re.compile(r"value: .*?, type: (?=<class )", re.DOTALL)


def parameter_problems(parameters: Mapping[str, Any], shape: Any) -> str:
    """
    Return which parameters have a wrong name or type; empty for none.

    Their values, which botocore's report contains, may be passwords, and are left out.

    :param shape: botocore's model of the request.
    """
    report = ParamValidator().validate(_masked(parameters), shape)
    return " ".join(_VALUE.sub("type: ", report.generate_report()).split())


def _masked(value: Any) -> Any:
    """
    Return a value of the same types and lengths without its texts.

    Not for requests with timestamps, which may be given as texts; RunJobFlow and AddJobFlowSteps have none.
    """
    if isinstance(value, (str, bytes)):
        return ("x" if isinstance(value, str) else b"x") * len(value)
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    return type(value)(map(_masked, value)) if type(value) in {list, tuple} else value
