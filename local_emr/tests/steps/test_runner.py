from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from local_emr.emr.steps import StepResult, StepSpec
from local_emr.steps import ProcessStepRunner
from local_emr.steps.processes import processes_of
from stage import Ended, log, run, spec, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from local_emr import LocalAws


def test_command_that_exits_with_zero_succeeds(runner: ProcessStepRunner, s3: Any) -> None:
    assert run(runner, spec("true")) == StepResult(succeeded=True, exit_code=0)


def test_output_is_in_the_log_bucket_in_emr_layout_before_the_end_is_reported(
    runner: ProcessStepRunner, s3: Any
) -> None:
    run(runner, spec("bash", "-c", "echo to out; echo to err >&2"))

    assert log(s3, "stdout") == "to out\n"
    assert log(s3, "stderr") == "to err\n"
    assert "startExec bash -c" in log(s3, "controller")
    assert log(s3, "syslog") == ""


def test_an_old_s3n_log_address_works_too(runner: ProcessStepRunner, s3: Any) -> None:
    run(runner, spec("echo", "hello", log_uri="s3n://logs/emr"))

    assert log(s3, "stdout") == "hello\n"


def test_failed_command_has_the_failure_details_of_emr(runner: ProcessStepRunner, s3: Any) -> None:
    result = run(runner, spec("bash", "-c", "echo first >&2; echo the cause >&2; exit 3"))

    assert result == StepResult(
        succeeded=False,
        exit_code=3,
        reason="Unknown Error.",
        message="the cause",
        log_file="s3://logs/emr/j-1/steps/s-1/stderr.gz",
    )


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        (
            'Exception in thread "main" java.lang.Error: broken\n\tat Main\nlast',
            'Exception in thread "main" java.lang.Error: broken',
        ),
        ("Traceback (most recent call last):\n  File x\nValueError: wrong\nbye", "ValueError: wrong"),
        ("told by the job\n26/01/01 10:00:00 INFO SparkContext: Stopped", "told by the job"),
        ("", "Command exited with code 1"),
    ],
)
def test_message_of_a_failure_is_its_cause(runner: ProcessStepRunner, s3: Any, stderr: str, message: str) -> None:
    assert run(runner, spec("bash", "-c", f"printf '{stderr}' >&2; exit 1")).message == message


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (spec("no-such-program", "x"), 'Cannot run program "no-such-program"'),
        (
            spec("s3://data/missing.sh", jar="s3://eu-west-1.elasticmapreduce/libs/script-runner/script-runner.jar"),
            "s3://",
        ),
        (spec("/home/hadoop/x.sh", jar="script-runner.jar"), "'/home/hadoop/x.sh' is not an S3 address"),
        (spec("x", jar="s3://data/own.jar"), "s3://data/own.jar cannot run on a local cluster"),
        (spec(), "command-runner.jar needs arguments"),
    ],
)
def test_what_cannot_run_fails_with_a_clear_message(
    runner: ProcessStepRunner, s3: Any, step: StepSpec, message: str
) -> None:
    result = run(runner, step)

    assert not result.succeeded
    assert message in (result.message or "")
    assert message in log(s3, "stderr")


def test_script_runner_fetches_and_runs_a_script(runner: ProcessStepRunner, s3: Any) -> None:
    s3.put_object(Bucket="data", Key="scripts/greet.sh", Body=b'#!/bin/sh\necho "hello $1"\n')

    run(runner, spec("s3://data/scripts/greet.sh", "world", jar="s3://eu-west-1.elasticmapreduce/script-runner.jar"))

    assert log(s3, "stdout") == "hello world\n"


def test_environment_names_the_step_and_leads_to_the_local_aws_only(
    runner: ProcessStepRunner, s3: Any, local_emr: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    monkeypatch.setenv("AIRFLOW_HOME", "/somewhere")

    run(runner, spec("env", "--null"))

    environment = dict(line.split("=", 1) for line in log(s3, "stdout").split("\0") if line)
    assert environment["LOCAL_AWS_STEP_ID"] == "s-1"
    assert environment["AWS_ENDPOINT_URL"] == local_emr.endpoint_url
    assert environment["AWS_DEFAULT_REGION"] == environment["AWS_REGION"] == "eu-west-1"
    assert environment["AWS_ACCESS_KEY_ID"] == environment["AWS_SECRET_ACCESS_KEY"] == "local"
    assert not {"AWS_SESSION_TOKEN", "AIRFLOW_HOME", "VIRTUAL_ENV"} & environment.keys()


def test_cancel_ends_the_whole_tree_also_what_left_its_session_and_ignores_requests(
    runner: ProcessStepRunner, s3: Any
) -> None:
    stubborn = "trap '' TERM; while :; do sleep 1; done"
    ended = Ended()
    runner.start(spec("bash", "-c", f'sleep 600 & setsid bash -c "{stubborn}" & env -i setsid sleep 600 & wait'), ended)
    wait_until(lambda: len(processes_of(runner.mark("s-1"))) >= 4)
    (root,) = runner.processes
    everything = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]

    runner.cancel("s-1")
    result = ended.wait()

    assert (result.succeeded, result.exit_code) == (False, None)
    assert not [process for process in everything if process.is_running() and process.status() != "zombie"]
    assert not processes_of(runner.mark("s-1"))
    assert not psutil.pid_exists(root)


def test_background_processes_end_with_their_step(runner: ProcessStepRunner, s3: Any) -> None:
    assert run(runner, spec("bash", "-c", "setsid sleep 600 & exit 0")).succeeded

    assert not processes_of(runner.mark("s-1"))


def test_two_runners_leave_each_others_processes_alone_though_their_steps_have_the_same_id(
    runner: ProcessStepRunner, s3: Any, tmp_path: Path
) -> None:
    neighbour = ProcessStepRunner(endpoint_url=runner.endpoint_url, state_dir=tmp_path / "neighbour")
    ended = Ended()
    neighbour.start(spec("sleep", "600"), ended)
    wait_until(lambda: bool(neighbour.processes))
    (theirs,) = map(psutil.Process, neighbour.processes)

    assert run(runner, spec("true")).succeeded

    assert theirs.is_running()
    assert runner.work_of(theirs) is None
    assert neighbour.work_of(theirs) == spec("sleep", "600")
    neighbour.close()
    assert not ended.wait().succeeded


def test_end_is_reported_once_however_often_a_step_is_cancelled(runner: ProcessStepRunner, s3: Any) -> None:
    ended = Ended()
    runner.start(spec("sleep", "600"), ended)
    runner.cancel("s-1")
    runner.cancel("s-1")
    ended.wait()
    runner.cancel("s-1")
    runner.close()

    assert len(ended.results) == 1


def test_close_ends_every_step_and_leaves_nothing(runner: ProcessStepRunner, s3: Any) -> None:
    ended = {step_id: Ended() for step_id in ("s-1", "s-2")}
    for step_id, on_end in ended.items():
        runner.start(spec("sleep", "600", step_id=step_id), on_end)
    wait_until(lambda: len(runner.processes) == 2)

    runner.close()

    assert [len(on_end.results) for on_end in ended.values()] == [1, 1]
    assert runner.processes == {}
    assert not [step_id for step_id in ended if processes_of(runner.mark(step_id))]


def test_processes_lead_from_the_first_process_to_its_step(runner: ProcessStepRunner, s3: Any) -> None:
    step = spec("sleep", "600")
    runner.start(step, Ended())
    wait_until(lambda: bool(runner.processes))

    ((pid, found),) = runner.processes.items()

    assert found == step
    assert os.getsid(pid) == pid


def test_log_bucket_that_is_missing_harms_no_step(runner: ProcessStepRunner, s3: Any, tmp_path: Path) -> None:
    assert run(runner, spec("true", log_uri="s3://no-such-bucket/logs/")).succeeded

    assert "s3://no-such-bucket/logs/" in (tmp_path / "steps/s-1/controller").read_text()
