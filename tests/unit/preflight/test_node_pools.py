"""Instance groups, fleets and the two old parameters, in one form; invalid values are left out."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.preflight.node_pools import NodePool, node_pools

PRIMARY = NodePool("MASTER", ("m5.xlarge",), is_spot=False)
SPOT = NodePool("MASTER", ("m5.xlarge",), is_spot=True)


def group(**given: Any) -> dict[str, Any]:
    return {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1, **given}


def fleet(*types: str, **given: Any) -> dict[str, Any]:
    return {"InstanceFleetType": "MASTER", "InstanceTypeConfigs": [{"InstanceType": name} for name in types], **given}


@pytest.mark.parametrize(
    ("instances", "pools"),
    [
        ({"InstanceGroups": [group()]}, [PRIMARY]),
        ({"InstanceGroups": [group(Market="SPOT")]}, [SPOT]),
        ({"InstanceGroups": [group(BidPrice="0.10")]}, [SPOT]),
        ({"InstanceGroups": [group(Market="ON_DEMAND")]}, [PRIMARY]),
        ({"InstanceFleets": [fleet("m5.xlarge", TargetOnDemandCapacity=1)]}, [PRIMARY]),
        ({"InstanceFleets": [fleet("m5.xlarge", TargetSpotCapacity=1)]}, [SPOT]),
        ({"InstanceFleets": [fleet("a", "b")]}, [NodePool("MASTER", ("a", "b"), is_spot=False)]),
        ({"InstanceFleets": [fleet()]}, [NodePool("MASTER", (), is_spot=False)]),
        (
            {"MasterInstanceType": "m5.xlarge", "SlaveInstanceType": "r5.xlarge"},
            [PRIMARY, NodePool("CORE", ("r5.xlarge",), is_spot=False)],
        ),
        ({}, []),
        ({"InstanceGroups": "m5.xlarge", "InstanceFleets": 7, "MasterInstanceType": 7}, []),
        ({"InstanceGroups": [7, group(InstanceType=None)]}, [NodePool("MASTER", (), is_spot=False)]),
    ],
)
def test_each_form(instances, pools):
    assert node_pools(instances) == pools
