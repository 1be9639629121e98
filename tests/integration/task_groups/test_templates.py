"""Templates and outputs of tasks as parameters: what they become is checked when they are rendered."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.egress_probe import egress_probe_step
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.bindings import NatGateway, checked_binding
from airflow_eip_provider.operators.eip import EipAssociateOperator
from harness.life import Task
from tests.unit.task_groups.conftest import STEP, cluster_of, make_dag

T = "{{ var.value.x }}"
IP = "203.0.113.9"


@pytest.fixture
def output(dag: Any) -> Any:
    """The output of a task."""
    return EipAssociateOperator(task_id="before", allocation_id="eipalloc-2", instance_id="i-1").output


PROBES = {
    "server": lambda _: {"servers": [T]},
    "server with port": lambda _: {"servers": [f"{T}:1433/db"]},
    "servers as a text": lambda _: {"servers": T},
    "servers of a task": lambda output: {"servers": output},
    "server of a task": lambda output: {"servers": [output]},
    "page": lambda _: {"echo_url": T},
    "page of a task": lambda output: {"echo_url": output},
    "executors": lambda _: {"executors": T},
    "seconds of a task": lambda output: {"wait_seconds": output},
    "address of a task": lambda output: {"public_ip": output},
    "address template": lambda _: {"public_ip": T},
    "no address of its own": lambda _: {"public_ip": None},
}


@pytest.mark.parametrize("what", PROBES)
def test_a_probe_takes_them_when_the_dag_is_read(dag: Any, output: Any, what: str) -> None:
    with cluster_of() as cluster:
        probe = cluster.probe_egress(**PROBES[what](output))
    depends = "of a task" in what
    assert ("before" in probe.upstream_task_ids) is depends


CLUSTERS = {
    "address": lambda output: {"allocation_id": output},
    "overrides": lambda output: {"job_flow_overrides": output},
    "overrides as a file": lambda _: {"job_flow_overrides": "cluster.json"},
    "binding": lambda _: {"binding": T},
    "binding of a task": lambda output: {"binding": output},
    "gateway": lambda _: {"binding": NatGateway(nat_gateway_id=T)},
    "gateway's parts": lambda _: {"binding": NatGateway(public_subnet_id=T, route_table_ids=T)},
    "attempts": lambda _: {"waiter_max_attempts": T},
}


@pytest.mark.parametrize("what", CLUSTERS)
def test_a_cluster_takes_them_when_the_dag_is_read(dag: Any, output: Any, what: str) -> None:
    cluster_of(**CLUSTERS[what](output))


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("tables", ["{{ tables }}", ["{{ tables[0] }}"], ("{{ tables[0] }}",)], ids=str)
def test_the_parts_of_a_binding_are_rendered(native: Any, tables: Any) -> None:
    subnet_id, table_id = "subnet-0123456789abcdef0", "rtb-0123456789abcdef0"
    with make_dag(render_template_as_native_obj=native):
        given = NatGateway(public_subnet_id="{{ subnet }}", route_table_ids=tables)
        create = cluster_of(binding=given).create
    create.render_template_fields({"subnet": subnet_id, "tables": [table_id]})
    found = checked_binding(create.binding)
    found.check_parameters()
    assert (found.public_subnet_id, list(found.route_table_ids)) == (subnet_id, [table_id])
    assert given.public_subnet_id == "{{ subnet }}"


def rendered(*, native: Any = False, **given: Any) -> list[str]:
    """Return the options of a probe, as its step would be submitted."""
    with (
        make_dag(render_template_as_native_obj=native),
        cluster_of(allocation_id="eipalloc-0123456789abcdef0") as cluster,
    ):
        probe = cluster.probe_egress(**{"public_ip": IP, **given})
    probe.job_flow_id = "j-1"
    context = {"one": "a.database.windows.net", "many": ["a.example", "b.example:1433/sales"], "n": 3, "bad": "a b"}
    probe.render_template_fields(context)
    return list(probe._checked_steps()[0]["HadoopJarStep"]["Args"][4:])


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    ("given", "servers"),
    [
        ({"servers": ["{{ one }}"]}, ["a.database.windows.net"]),
        ({"servers": ["{{ one }}:1433", "b.example"]}, ["a.database.windows.net:1433", "b.example"]),
        ({"servers": "{{ one }}"}, ["a.database.windows.net"]),
        ({"servers": "{{ many }}"}, ["a.example", "b.example:1433/sales"]),
        ({"servers": ("{{ one }}",)}, ["a.database.windows.net"]),
        (
            {"servers": "{{ many }}", "executors": "{{ n }}", "wait_seconds": "{{ n * 10 }}"},
            ["a.example", "b.example:1433/sales"],
        ),
    ],
)
def test_what_they_become_is_what_is_asked(native: Any, given: Any, servers: list[str]) -> None:
    options = rendered(native=native, **given)
    assert [text for option, text in itertools.pairwise(options) if option == "--server"] == servers
    assert ("--executors" in options) is ("executors" in given)
    assert options[options.index("--wait") + 1] == ("30" if "wait_seconds" in given else "330")


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"servers": ["{{ bad }}"]}, r"servers\[0\]: this is not HOST"),
        ({"servers": "{{ bad }}"}, r"servers\[0\]: this is not HOST"),
        ({"servers": "{{ n }}"}, "servers: this is int, not a list"),
        ({"servers": "{{ [n] }}"}, r"servers\[0\]: this is not HOST"),
        ({"echo_url": "{{ bad }}"}, "echo_url: this is not an https"),
        ({"public_ip": "{{ bad }}"}, "public_ip: this is not an IPv4 address"),
        ({"executors": "{{ bad }}"}, "executors: this is not a number"),
        ({"executors": "{{ -n }}"}, "executors: it is not from 0 to"),
        ({"servers": "{{ [] }}", "echo_url": None}, "neither a server nor an echo_url"),
    ],
)
def test_what_they_become_is_checked(native: Any, given: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        rendered(native=native, **given)


def test_a_probe_that_becomes_wrong_is_not_submitted(clocked, allocation_id, deferrable) -> None:
    with make_dag(), cluster_of(allocation_id=allocation_id, aws_conn_id=None, deferrable=deferrable) as cluster:
        probe = cluster.probe_egress("{{ bad }}", public_ip=IP)
    probe.job_flow_id = "j-1"
    probe.render_template_fields({"bad": "a b"})
    with pytest.raises(AirflowFailException, match=r"servers\[0\]: this is not HOST"):
        Task(probe).run()
    assert [event for event in clocked.events.read(kind="call") if event["operation"] == "AddJobFlowSteps"] == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"public_ip": None}, "public_ip: this is not an IPv4 address"),
        ({"servers": 7}, "servers: this is int, not a list"),
        ({"servers": [7]}, r"servers\[0\]: this is not HOST"),
        ({"executors": "two"}, "executors: this is not a number"),
    ],
)
def test_what_is_wrong_already_is_refused_by_name(given: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        egress_probe_step(**{"public_ip": IP, **given})


def test_the_address_is_a_parameter_of_other_tasks(dag: Any) -> None:
    with cluster_of() as cluster:
        cluster.steps([STEP])
    for found in (cluster.public_ip, cluster.static_ip["public_ip"]):
        assert (found.operator, found.key) == (cluster.create, "public_ip")
    elsewhere = EipAssociateOperator(
        task_id="elsewhere", allocation_id=cluster.static_ip["allocation_id"], job_flow_id="j"
    )
    assert elsewhere.upstream_task_ids == {"azure.create"}


def test_create_publishes_each_fact_of_the_address(clocked, allocation_id, overrides, deferrable) -> None:
    with make_dag():
        cluster = cluster_of(
            allocation_id=allocation_id,
            job_flow_overrides=overrides,
            aws_conn_id=None,
            emr_conn_id=None,
            deferrable=deferrable,
        )
    task = Task(cluster.create)
    job_flow_id = task.run()
    facts = task.ti.xcoms["static_ip"]
    assert facts["public_ip"]
    assert {name: task.ti.xcoms[name] for name in facts} == {**facts, "job_flow_id": job_flow_id}
