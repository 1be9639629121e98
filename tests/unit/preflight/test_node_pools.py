"""Instance groups, fleets and the two old parameters, in one form; invalid values are left out."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.preflight.node_pools import NodePool, node_counts, node_pools

PRIMARY = NodePool("MASTER", ("m5.xlarge",), on_demand=1)
SPOT = NodePool("MASTER", ("m5.xlarge",), spot=1)
UNKNOWN = NodePool("MASTER", (), on_demand=1)
WEIGHTED = {
    "InstanceFleetType": "CORE",
    "InstanceTypeConfigs": [{"InstanceType": "r5.2xlarge", "WeightedCapacity": 4}, {"InstanceType": "r5.xlarge"}],
}


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
        ({"InstanceFleets": [fleet("a", "b")]}, [NodePool("MASTER", ("a", "b"))]),
        ({"InstanceFleets": [fleet()]}, [NodePool("MASTER", ())]),
        (
            {"InstanceFleets": [{**WEIGHTED, "TargetOnDemandCapacity": 9, "TargetSpotCapacity": 4}]},
            [NodePool("CORE", ("r5.2xlarge", "r5.xlarge"), on_demand=3, spot=1)],
        ),
        (
            {"MasterInstanceType": "m5.xlarge", "SlaveInstanceType": "r5.xlarge", "InstanceCount": 20},
            [PRIMARY, NodePool("CORE", ("r5.xlarge",), on_demand=19)],
        ),
        (
            {"MasterInstanceType": "m5.xlarge", "SlaveInstanceType": "r5.xlarge"},
            [PRIMARY, NodePool("CORE", ("r5.xlarge",))],
        ),
        ({}, [UNKNOWN]),
        (
            {"InstanceGroups": "m5.xlarge", "InstanceFleets": 7, "MasterInstanceType": 7, "InstanceCount": "2"},
            [UNKNOWN],
        ),
        ({"InstanceGroups": [7, group(InstanceType=None)]}, [UNKNOWN]),
        ({"InstanceGroups": [group(InstanceCount="3")]}, [PRIMARY]),
    ],
)
def test_each_form(instances, pools):
    assert node_pools(instances) == pools


@pytest.mark.parametrize(
    ("instances", "counts"),
    [
        (
            {"InstanceGroups": [group(), group(InstanceRole="CORE", InstanceCount=2), group(InstanceRole="TASK")]},
            (1, 3),
        ),
        ({"InstanceGroups": [group(InstanceCount=3)]}, (3, 0)),
        ({"InstanceFleets": [fleet("a", TargetSpotCapacity=1), {**WEIGHTED, "TargetOnDemandCapacity": 9}]}, (1, 3)),
        ({"MasterInstanceType": "m5.xlarge", "SlaveInstanceType": "r5.xlarge", "InstanceCount": 20}, (1, 19)),
        ({"MasterInstanceType": "m5.xlarge", "InstanceCount": 1}, (1, 0)),
        ({}, (1, 0)),
    ],
)
def test_the_numbers_of_nodes(instances, counts):
    assert node_counts(instances) == counts
