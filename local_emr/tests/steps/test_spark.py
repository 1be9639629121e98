from __future__ import annotations

import json
import re
import zipfile
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from local_emr.steps.processes import processes_of
from stage import Ended, log, run, spec, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from local_emr.steps import ProcessStepRunner

pytestmark = pytest.mark.spark

COPY = """
import json, os, sys
from pyspark.sql import SparkSession
import greeting

source, target = sys.argv[1:]
spark = SparkSession.builder.getOrCreate()
# In the directory of a driver in cluster mode, from --files and --archives.
files = [open("settings.yml").read(), open("env/etc/name").read()]
names = spark.read.text(source)
names.selectExpr("value", "1 AS one").write.mode("overwrite").partitionBy("value").json(target + "partitioned")
names.write.mode("overwrite").parquet(target + "parquet")
again = [row.value for row in spark.read.parquet(target.replace("s3:", "s3a:") + "parquet").collect()]

def place(_):
    # The node's own Python, which has what was installed there.
    yield os.getppid(), os.environ["LOCAL_AWS_STEP_ID"], greeting.WORD, "/node/i-1/python" in sys.prefix

places = spark.sparkContext.parallelize(range(2), 2).mapPartitions(place).collect()
print(json.dumps({"driver": os.getpid(), "again": sorted(again), "places": places, "files": files}))
"""


def put_job(s3: Any, *, script: str) -> None:
    s3.put_object(Bucket="data", Key="jobs/names.py", Body=script.encode())


def test_job_for_yarn_reads_and_writes_s3_on_separate_executors_with_its_files_and_archives(
    runner: ProcessStepRunner, s3: Any, tmp_path: Path
) -> None:
    put_job(s3, script=COPY)
    s3.put_object(Bucket="data", Key="jobs/greeting.py", Body=b"WORD = 'hello'\n")
    s3.put_object(Bucket="data", Key="in/names.txt", Body=b"ann\nbob\n")
    s3.put_object(Bucket="data", Key="out/parquet/of-yesterday", Body=b"old")
    s3.put_object(Bucket="data", Key="conf/daily.yml", Body=b"rows: 3")
    with zipfile.ZipFile(tmp_path / "env.zip", "w") as archive:
        archive.writestr("etc/name", "daily")
    s3.upload_file(str(tmp_path / "env.zip"), "data", "env.zip")
    submit = (
        "/usr/bin/spark-submit --master yarn --deploy-mode cluster --executor-memory 16g"
        " --py-files s3://data/jobs/greeting.py"
        " --files s3://data/conf/daily.yml#settings.yml --archives s3://data/env.zip#env"
    )

    result = run(runner, spec(*submit.split(), "s3://data/jobs/names.py", "s3://data/in/", "s3://data/out/"))

    assert result.succeeded, log(s3, "stderr")[-3000:]
    told = json.loads(log(s3, "stdout"))
    assert told["again"] == ["ann", "bob"]
    assert told["files"] == ["rows: 3", "daily"]
    assert {tuple(place[1:]) for place in told["places"]} == {("s-1", "hello", True)}
    assert told["driver"] not in {place[0] for place in told["places"]}
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket="data", Prefix="out/")["Contents"]]
    assert {re.sub(r"part-.*", "part", key) for key in keys} == {
        "out/partitioned/_SUCCESS",
        "out/partitioned/value=ann/part",
        "out/partitioned/value=bob/part",
        "out/parquet/_SUCCESS",
        "out/parquet/part",
    }
    assert "--executor-memory 16g is left out" in log(s3, "controller")
    assert not processes_of(runner.mark("s-1"))


def test_job_that_is_not_there_fails_at_once_and_names_it(runner: ProcessStepRunner, s3: Any) -> None:
    result = run(runner, spec("spark-submit", "s3://data/jobs/missing.py"))

    assert not result.succeeded
    assert result.message == "java.io.FileNotFoundException: s3://data/jobs/missing.py does not exist in the local S3"


def command_of(process: psutil.Process) -> str:
    """Return a process's command line; empty for one that ends just now."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie, too
        return ""


def test_cancel_ends_driver_executors_and_python_workers(runner: ProcessStepRunner, s3: Any) -> None:
    put_job(
        s3,
        script="""
import time
from pyspark.sql import SparkSession
SparkSession.builder.getOrCreate().sparkContext.parallelize(range(2), 2).foreach(lambda _: time.sleep(600))
""",
    )
    ended = Ended()
    runner.start(spec("spark-submit", "s3://data/jobs/names.py"), ended)
    # pyspark.daemon is the last to start, below an executor
    wait_until(lambda: any("pyspark.daemon" in command_of(found) for found in processes_of(runner.mark("s-1"))))

    runner.cancel("s-1")
    ended.wait()

    assert not processes_of(runner.mark("s-1"))
