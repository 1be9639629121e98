from __future__ import annotations

import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from local_emr.steps.distributed import Distributed, place
from local_emr.steps.examples import example_arguments
from local_emr.steps.spark_submit import LOCAL_MASTER, ONE_NODE_MASTER, localize

if TYPE_CHECKING:
    from pathlib import Path


def test_arguments_that_size_a_yarn_cluster_are_left_out_and_logged() -> None:
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


@pytest.mark.parametrize(
    ("arguments", "master"),
    [
        ("--master yarn job.py", ONE_NODE_MASTER),
        ("--num-executors 2 job.py", LOCAL_MASTER),
        ("--conf spark.executor.instances=2 job.py", LOCAL_MASTER),
    ],
)
def test_on_one_node_there_is_one_executor_unless_the_step_asks_for_a_number(arguments: str, master: str) -> None:
    local = localize(arguments.split(), one_node=True)
    assert local.master == master
    assert all(master in change for change in local.changes)
    assert localize(arguments.split()).master == LOCAL_MASTER


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


@pytest.mark.parametrize(
    ("arguments", "kept", "names"),
    [
        (
            "--files s3://b/a.yml,s3://b/b.yml#c.yml job.py",
            "--files s3://b/a.yml,s3://b/b.yml job.py",
            ["a.yml", "c.yml"],
        ),
        ("--files=a.yml#b.yml job.py", "--files a.yml job.py", ["b.yml"]),
        ("--conf spark.yarn.dist.files=a.yml job.py", "--conf spark.files=a.yml job.py", ["a.yml"]),
        ("--archives s3://b/env.tar.gz#env job.py", "--archives s3://b/env.tar.gz#env job.py", ["env"]),
        ("--conf spark.archives=env.zip job.py", "--conf spark.archives=env.zip job.py", ["env.zip"]),
        ("job.py --files a.yml", "job.py --files a.yml", []),
    ],
)
def test_what_yarn_would_distribute_is_known_under_its_name(arguments: str, kept: str, names: list[str]) -> None:
    local = localize(arguments.split())

    assert local.arguments == kept.split()
    assert [each.name for each in local.distributed] == names


def test_the_driver_s_directory_has_files_and_unpacked_archives(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("a: 1")
    with zipfile.ZipFile(tmp_path / "env.zip", "w") as archive:
        archive.writestr("bin/x", "zip")
    with tarfile.open(tmp_path / "env.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "a.yml", "etc/y")
    wanted = [("a.yml", "b.yml", False), ("env.zip", "env.zip", True), ("env.tar.gz", "env", True)]
    distributed = [Distributed(source=source, name=name, is_archive=packed) for source, name, packed in wanted]

    place(distributed, tmp_path / "container", path_of=lambda source: tmp_path / source)

    found = {str(path.relative_to(tmp_path / "container")) for path in (tmp_path / "container").rglob("*")}
    assert found == {"b.yml", "env.zip", "env.zip/bin", "env.zip/bin/x", "env", "env/etc", "env/etc/y"}
    missing = Distributed(source="none.yml", name="none.yml", is_archive=False)
    with pytest.raises(FileNotFoundError, match=r"none\.yml"):
        place([missing], tmp_path / "other", path_of=lambda source: tmp_path / source)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ("SparkPi 10", "pi.py 10"),
        ("org.apache.spark.examples.SparkPi", "pi.py"),
        (
            "--master yarn --deploy-mode=cluster JavaWordCount s3://b/x",
            "--master yarn --deploy-mode=cluster wordcount.py s3://b/x",
        ),
    ],
)
def test_an_example_is_the_script_of_its_name(tmp_path: Path, arguments: str, found: str) -> None:
    for name in ("pi.py", "wordcount.py"):
        (tmp_path / name).touch()

    assert example_arguments(arguments.split(), directory=tmp_path) == [
        str(tmp_path / word) if word.endswith(".py") else word for word in found.split()
    ]
    with pytest.raises(LookupError, match=r"'SparkLR' in Python.* it has pi, wordcount"):
        example_arguments(["SparkLR"], directory=tmp_path)
