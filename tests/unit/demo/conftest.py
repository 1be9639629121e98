from __future__ import annotations

import pytest

from tests.unit.demo.event_log import CLUSTERS, DAGS, Log


@pytest.fixture
def log() -> Log:
    """Return the log of two lease periods, the second after the first."""
    log = Log()
    for number, (dag_id, cluster) in enumerate(zip(DAGS, CLUSTERS, strict=True)):
        log.session(10 * number, dag_id, cluster)
    return log
