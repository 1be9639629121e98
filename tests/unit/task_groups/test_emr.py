"""StaticIpCluster's dependencies: the tasks of its block run while the cluster has the address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import EmptyOperator, TaskGroup
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.eip import EipAssociateOperator
from tests.unit.task_groups.conftest import STEP, cluster_of, make_dag, upstream


def test_steps_run_between_bound_and_terminate(dag: Any) -> None:
    with cluster_of() as cluster:
        cluster.steps([STEP])

    assert upstream(dag) == {
        "azure.create": set(),
        "azure.bound": {"azure.create"},
        "azure.steps": {"azure.bound"},
        "azure.terminate": {"azure.steps"},
        "azure.done": {"azure.steps"},
    }


def test_block_keeps_the_order_that_the_user_gives_it(dag: Any) -> None:
    with cluster_of() as cluster:
        one, two, three = (cluster.steps([STEP], task_id=name) for name in ("one", "two", "three"))
        one >> [two, three]

    found = upstream(dag)
    assert found["azure.one"] == {"azure.bound"}
    assert found["azure.two"] == found["azure.three"] == {"azure.one"}
    assert found["azure.terminate"] == found["azure.done"] == {"azure.two", "azure.three"}


def test_any_operator_and_group_of_the_block_runs_while_the_address_is_bound(dag: Any) -> None:
    with cluster_of() as cluster:
        EmptyOperator(task_id="beside")
        with TaskGroup("inner"):
            cluster.steps([STEP])

    found = upstream(dag)
    assert found["azure.beside"] == found["azure.inner.steps"] == {"azure.bound"}
    assert found["azure.terminate"] == {"azure.beside", "azure.inner.steps"}


def test_mapped_task_of_the_block_is_wired_like_any_other(dag: Any) -> None:
    with cluster_of():
        EipAssociateOperator.partial(task_id="mapped", allocation_id="eipalloc-2").expand(instance_id=["i-1", "i-2"])

    found = upstream(dag)
    assert found["azure.mapped"] == {"azure.bound"}
    assert found["azure.terminate"] == found["azure.done"] == {"azure.mapped"}


def test_empty_block_is_a_cluster_that_is_bound_and_ends(dag: Any) -> None:
    with cluster_of():
        pass

    assert upstream(dag) == {
        "azure.create": set(),
        "azure.bound": {"azure.create"},
        "azure.terminate": {"azure.bound"},
        "azure.done": {"azure.bound"},
    }
    dag.validate_setup_teardown()  # as Airflow does when it reads the file


def test_tasks_around_the_group_wait_for_the_block_and_never_for_the_teardown(dag: Any) -> None:
    before, after = EmptyOperator(task_id="before"), EmptyOperator(task_id="after")
    with cluster_of() as cluster:
        cluster.steps([STEP])
    before >> cluster >> after

    found = upstream(dag)
    assert found["azure.create"] == {"before"}
    assert found["after"] == {"azure.done"}
    assert after.trigger_rule == "all_success"


def test_group_inside_another_group(dag: Any) -> None:
    after = EmptyOperator(task_id="after")
    with TaskGroup("outer") as outer, cluster_of() as cluster:
        cluster.steps([STEP])
    outer >> after

    found = upstream(dag)
    assert found["outer.azure.steps"] == {"outer.azure.bound"}
    assert found["after"] == {"outer.azure.done"}


def test_two_clusters_in_one_dag_follow_each_other(dag: Any) -> None:
    clusters = [cluster_of("one"), cluster_of("two")]
    for cluster in clusters:
        with cluster:
            cluster.steps([STEP])
    clusters[0] >> clusters[1]

    found = upstream(dag)
    assert found["two.create"] == {"one.done"}
    assert found["one.terminate"] == {"one.steps"}
    assert found["two.terminate"] == {"two.steps"}


def test_cluster_inside_a_cluster_ends_first(dag: Any) -> None:
    with cluster_of("outer"), cluster_of("inner", allocation_id="eipalloc-2") as inner:
        inner.steps([STEP])

    found = upstream(dag)
    assert found["outer.inner.create"] == {"outer.bound"}
    assert found["outer.terminate"] == {"outer.inner.terminate", "outer.inner.done"}
    assert found["outer.done"] == {"outer.inner.done"}


def test_teardown_in_the_block_runs_before_the_cluster_ends_and_nothing_else_waits_for_it(dag: Any) -> None:
    with cluster_of() as cluster:
        work = cluster.steps([STEP])
        setup, teardown = EmptyOperator(task_id="setup"), EmptyOperator(task_id="teardown")
        setup >> work >> teardown.as_teardown(setups=setup)

    found = upstream(dag)
    assert found["azure.setup"] == {"azure.bound"}
    assert found["azure.terminate"] == {"azure.teardown"}
    assert found["azure.done"] == {"azure.steps"}


def test_error_in_the_block_comes_out_as_it_is_and_the_group_is_left(dag: Any) -> None:
    with pytest.raises(ZeroDivisionError), cluster_of():
        raise ZeroDivisionError

    assert EmptyOperator(task_id="outside").task_id == "outside"


def test_second_block_adds_to_the_first(dag: Any) -> None:
    cluster = cluster_of()
    for _ in range(2):
        with cluster:
            cluster.steps([STEP])

    assert upstream(dag)["azure.terminate"] == {"azure.steps", "azure.steps_2"}


@pytest.mark.parametrize("method", ["steps", "release_address"])
def test_task_outside_the_block_is_refused(dag: Any, method: str) -> None:
    with cluster_of() as cluster:
        pass

    with pytest.raises(InvalidInputError, match=rf"group 'azure': {method}\(\) was called outside its with block"):
        getattr(cluster, method)(*([[STEP]] if method == "steps" else []))
    assert not any(method.startswith(task.task_id) for task in dag.tasks)


def test_steps_are_numbered_unless_they_have_a_name(dag: Any) -> None:
    with cluster_of() as cluster:
        named = [cluster.steps([STEP], task_id=task_id).task_id for task_id in (None, "orders", None)]

    assert named == ["azure.steps", "azure.orders", "azure.steps_2"]


def test_the_address_is_released_at_the_given_task(dag: Any) -> None:
    with cluster_of() as cluster:
        cluster.steps([STEP]) >> cluster.release_address() >> EmptyOperator(task_id="goes_on")

    found = upstream(dag)
    assert found["azure.release"] == {"azure.steps"}
    assert found["azure.goes_on"] == {"azure.release"}
    assert found["azure.terminate"] == {"azure.goes_on"}


def test_the_address_is_released_after_all_steps_by_default(dag: Any) -> None:
    with cluster_of() as cluster:
        cluster.release_address()
        cluster.steps([STEP])
        cluster.steps([STEP])

    assert upstream(dag)["azure.release"] == {"azure.steps", "azure.steps_2"}


def test_release_needs_no_steps(dag: Any) -> None:
    with cluster_of() as cluster:
        cluster.release_address()

    assert upstream(dag)["azure.release"] == {"azure.bound"}


def test_cluster_and_address_are_templates_and_make_a_task_wait(dag: Any) -> None:
    with cluster_of() as cluster:
        pass
    elsewhere = EipAssociateOperator(task_id="elsewhere", allocation_id="eipalloc-2", job_flow_id=cluster.job_flow_id)

    assert elsewhere.upstream_task_ids == {"azure.create"}
    assert "task_ids='azure.create'" in str(cluster.job_flow_id)
    assert "task_ids='azure.create'" in str(cluster.static_ip)
    assert "key='static_ip'" in str(cluster.static_ip)


def test_a_cleared_step_has_a_new_cluster_and_a_cleared_follower_has_not(dag: Any) -> None:
    with cluster_of() as cluster:
        EmptyOperator(task_id="beside")
    cluster >> EmptyOperator(task_id="after")

    def cleared(task_id: str) -> set[str]:
        return set(dag.partial_subset([task_id], include_upstream=False).task_dict)

    assert cleared("azure.beside") == {"azure.create", "azure.bound", "azure.beside", "azure.terminate"}
    assert cleared("azure.done") == {"azure.done"}
    assert cleared("after") == {"after"}


def test_a_probe_expects_the_address_that_was_bound_and_comes_before_what_it_is_for(dag: Any) -> None:
    with cluster_of() as cluster:
        probe = cluster.probe_egress(["sales.database.windows.net"], wait_seconds=60)
        probe >> cluster.steps([STEP])

    class Bound:
        map_index = -1

        def xcom_pull(self, **where: Any) -> dict[str, str]:
            assert where == {"task_ids": "azure.create", "key": "static_ip", "map_indexes": -1}
            return {"public_ip": "203.0.113.9"}

    [step] = probe.render_template(probe.steps, {"ti": Bound()})
    assert step["HadoopJarStep"]["Args"][4:] == [
        *("--expect", "203.0.113.9", "--wait", "60", "--timeout", "15"),
        *("--server", "sales.database.windows.net", "--echo", "https://checkip.amazonaws.com"),
    ]
    assert upstream(dag)["azure.probe_egress"] == {"azure.bound"}
    assert upstream(dag)["azure.steps"] == {"azure.probe_egress"}


def test_failing_to_end_the_cluster_is_to_fail_the_run(dag: Any) -> None:
    with cluster_of() as cluster:
        pass

    assert cluster.terminate.is_teardown
    assert cluster.terminate.on_failure_fail_dagrun
    assert cluster.create.is_setup
    assert cluster.bound.is_setup


def test_example_of_the_readme_is_complete(dag: Any) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)

    exec(example, {})

    assert upstream(dag)["azure.terminate"] == {"azure.steps"}
    assert all(dag.get_task(f"azure.{name}").deferrable for name in ("create", "bound", "steps", "terminate"))


def test_group_may_be_given_its_dag_as_any_task_group_may() -> None:
    dag = make_dag()
    with cluster_of(dag=dag) as cluster:
        cluster.steps([STEP])

    assert upstream(dag)["azure.terminate"] == {"azure.steps"}
