"""Whether a service of docker-compose.yaml is healthy: ``healthcheck.py URL [COMPONENT]``.

The URL must answer; a component (Airflow's ``/api/v2/monitor/health`` names them) must be healthy in what it answers.
"""

from __future__ import annotations

import json
import sys
from urllib.request import ProxyHandler, build_opener

TIMEOUT_SECONDS = 15


def main(url: str, component: str | None = None) -> str | None:
    """Return what is wrong, or None."""
    # A proxy has no business between the containers.
    with build_opener(ProxyHandler({})).open(url, timeout=TIMEOUT_SECONDS) as answer:
        body = answer.read()
    if component is None:
        return None
    status = json.loads(body)[component]["status"]
    return None if status == "healthy" else f"{component} is {status}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
