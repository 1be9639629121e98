from __future__ import annotations

import pytest

from airflow_eip_provider.local_aws.steps.spark_submit import localize


def test_arguments_that_size_a_yarn_cluster_are_left_out_and_told() -> None:
    sizes = "--master yarn --deploy-mode=cluster --num-executors 8 --conf spark.executor.memory=20g"
    rest = "--conf spark.sql.shuffle.partitions=4 --verbose --name daily s3://b/job.py --x 1"

    local = localize([*sizes.split(), *rest.split()])

    assert local.arguments == rest.split()
    assert [change.split(" is left out")[0] for change in local.changes] == [
        "--master yarn",
        "--deploy-mode=cluster",
        "--num-executors 8",
        "--conf spark.executor.memory=20g",
    ]


def test_arguments_of_the_application_are_its_own() -> None:
    application = ["s3://b/job.py", "--master", "yarn", "--num-executors", "3"]

    assert localize(application).arguments == application
    assert localize(application).application == "s3://b/job.py"


@pytest.mark.parametrize("arguments", [["--master", "local[1]", "job.py"], ["--version"], []])
def test_what_fits_stays_as_it_is(arguments: list[str]) -> None:
    assert localize(arguments).arguments == arguments
    assert localize(arguments).changes == []


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [
        ("job.py --deploy-mode cluster", "client"),
        ("--deploy-mode cluster job.py", "cluster"),
        ("--deploy-mode=cluster job.py", "cluster"),
        ("--conf spark.submit.deployMode=cluster --conf a=b job.py", "cluster"),
    ],
)
def test_the_deploy_mode_is_kept_in_mind(arguments: str, mode: str) -> None:
    assert localize(arguments.split()).deploy_mode == mode
