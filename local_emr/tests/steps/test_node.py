"""A node's own Python environment, programs and view of the file system: what scripts do there changes nothing else."""

from __future__ import annotations

import os
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local_emr.emr.steps import BootstrapActionSpec, StepResult
from local_emr.steps import ProcessStepRunner, node
from local_emr.steps.node import View, find_view
from stage import log, run, spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_emr import LocalAws

INFO = {"instance.json": {"isMaster": True, "isRunningDataNode": False}, "job-flow.json": {"jobFlowId": "j-1"}}


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    """What this system allows; where it allows nothing, these tests have nothing to show."""
    view = find_view(tmp_path_factory.mktemp("view"))
    if not view:
        pytest.skip(f"no namespaces here: {view.reason}")
    return view


@pytest.fixture
def without_views(local_emr: LocalAws, tmp_path: Path) -> Iterator[ProcessStepRunner]:
    runner = ProcessStepRunner(endpoint_url=lambda: local_emr.endpoint_url, state_dir=tmp_path, views=False)
    yield runner
    runner.close()


def action(s3: Any, script: bytes, *args: str, instance_id: str = "i-1", **info: Any) -> BootstrapActionSpec:
    key = f"{instance_id}/action.sh"
    s3.put_object(Bucket="data", Key=key, Body=script)
    return BootstrapActionSpec(
        job_flow_id="j-1",
        instance_id=instance_id,
        region="eu-west-1",
        number=1,
        name="action",
        args=(f"s3://data/{key}", *args),
        log_uri="s3://logs/emr/",
        node_info=info or INFO,
    )


def told(runner: ProcessStepRunner, work: Any, name: str = "stdout") -> str:
    return (runner.state_dir / work.place / name).read_text(errors="replace")


def wheel(directory: Path, name: str, version: str) -> Path:
    """A package of one module that says its version."""
    path = directory / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def installed() -> set[tuple[str, str]]:
    return {(found.metadata["Name"], found.version) for found in distributions()}


@pytest.mark.parametrize("command", ["sudo python3 -m pip", "pip3", "sudo /usr/bin/pip3"])
def test_pip_installs_into_the_node_and_nowhere_else(
    request: pytest.FixtureRequest, s3: Any, tmp_path: Path, command: str
) -> None:
    absolute = command.startswith("sudo /")
    runner = request.getfixturevalue("runner" if absolute else "without_views")
    if absolute:
        request.getfixturevalue("view")
    before = installed()
    package = wheel(tmp_path, "eip_test_package", "1.0")
    # One that the local EMR itself has, in another version.
    other = wheel(tmp_path, "psutil", "0.0.1")
    script = f"#!/bin/bash\nset -e\n{command} install --quiet --no-index --no-deps {package} {other}\n"
    install = action(s3, script.encode())

    assert run(runner, install).succeeded, told(runner, install, "stderr")

    assert installed() == before
    ask = "import eip_test_package, psutil; print(eip_test_package.VERSION, psutil.VERSION)"
    assert run(runner, spec("python3", "-c", ask)).succeeded, log(s3, "stderr")
    assert log(s3, "stdout") == "1.0 0.0.1\n"
    other_node = action(s3, b"#!/usr/bin/python3\nimport eip_test_package\n", instance_id="i-2")
    assert not run(runner, other_node).succeeded
    assert "No module named 'eip_test_package'" in told(runner, other_node, "stderr")


def test_the_node_s_python_has_what_the_local_aws_has(without_views: ProcessStepRunner, s3: Any) -> None:
    ask = "import boto3, sys; print(sys.prefix != sys.base_prefix, sys.version_info[:2], sys.prefix)"
    assert run(without_views, spec("python3", "-c", ask)).succeeded, log(s3, "stderr")
    prefix = without_views.state_dir / "node/i-1/python"
    assert log(s3, "stdout") == f"True {sys.version_info[:2]} {prefix}\n"


def test_what_a_node_writes_is_in_its_folder_and_its_next_script_finds_it(
    view: View, runner: ProcessStepRunner, s3: Any
) -> None:
    paths = [
        "/home/hadoop/a.jar",
        "/mnt/a",
        "/usr/lib/spark/jars/a.jar",
        "/usr/local/bin/eip-test-a",
        "/etc/eip-test-a",
    ]
    paths = [path for path in paths if os.geteuid() == 0 or not path.startswith(("/usr/local", "/etc"))]
    write = action(
        s3, f"#!/bin/bash\nset -e\nfor path in {' '.join(paths)}; do echo $1 > $path; done\n".encode(), "one"
    )
    again = action(s3, b"ls ~ /mnt/a\n", instance_id="i-2")

    assert run(runner, write).succeeded, told(runner, write, "stderr")

    assert [path for path in paths if Path(path).exists()] == []
    assert (runner.state_dir / "node/i-1/root/home/hadoop/a.jar").read_text() == "one\n"
    assert run(runner, spec("cat", *paths)).succeeded, log(s3, "stderr")
    assert log(s3, "stdout") == "one\n" * len(paths)
    assert not run(runner, again).succeeded
    assert "a.jar" not in told(runner, again)


def test_a_program_that_a_bootstrap_action_has_left_on_the_node_is_run(
    view: View, runner: ProcessStepRunner, s3: Any
) -> None:
    left = b"#!/bin/bash\nprintf '#!/bin/sh\\necho ran in $HOME' > ~/job.sh && chmod +x ~/job.sh\n"
    assert run(runner, action(s3, left)).succeeded
    assert run(runner, spec("/home/hadoop/job.sh")).succeeded, log(s3, "stderr")
    assert log(s3, "stdout") == "ran in /home/hadoop\n"


def test_the_state_of_the_local_aws_is_no_part_of_the_view(view: View, runner: ProcessStepRunner, s3: Any) -> None:
    assert run(runner, spec("bash", "-c", "pwd; echo x > $LOCAL_AWS_STEP_DIR/said; ls $PWD")).succeeded
    assert (runner.state_dir / "steps/s-1/said").read_text() == "x\n"
    assert log(s3, "stdout").splitlines()[0] == str(runner.state_dir / "steps/s-1/work")


def test_a_directory_that_cannot_be_covered_stays_the_machine_s(
    view: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "_directories", lambda: ((*view.overlaid, "no-such-directory"), view.bound))
    assert find_view(tmp_path) == view
    monkeypatch.setattr(node, "_directories", lambda: (("home", "no-such-directory"), view.bound))
    assert find_view(tmp_path).reason == "/usr cannot be covered"


def test_a_state_in_a_directory_that_is_overlaid_works_too(view: View, local_emr: LocalAws, s3: Any) -> None:
    """As in somebody's home directory; the tests' own are in /tmp, which the nodes share with this machine."""
    if Path("/tmp") in Path(__file__).resolve().parents:
        pytest.skip("this checkout is in /tmp, which is not overlaid")
    state = Path(__file__).resolve().parents[3] / f".state-{os.getpid()}"
    runner = ProcessStepRunner(endpoint_url=lambda: local_emr.endpoint_url, state_dir=state)
    try:
        written = "echo x > $LOCAL_AWS_STEP_DIR/said; echo x > $LOCAL_AWS_STEP_DIR/../../../outside; echo x > ~/own"
        assert run(runner, spec("bash", "-c", written)).succeeded, log(s3, "stderr")
        assert (state / "steps/s-1/said").exists()
        assert (state / "node/i-1/root/home/hadoop/own").exists()
        assert not (state.parent / "outside").exists()
        runner.close()
    finally:
        run_rm = ["chmod", "-R", "u+rwx", str(state)]
        os.spawnvp(os.P_WAIT, run_rm[0], run_rm)
        os.spawnvp(os.P_WAIT, "rm", ["rm", "-rf", str(state)])


@pytest.mark.parametrize("views", [True, False])
def test_the_controller_log_shows_when_a_node_has_no_separate_view(
    request: pytest.FixtureRequest, s3: Any, views: Any
) -> None:
    if views:
        request.getfixturevalue("view")
    runner = request.getfixturevalue("runner" if views else "without_views")
    assert run(runner, spec("sh", "-c", "echo $HOME")).succeeded
    assert ("Warning: the node has no view of its own" in log(s3, "controller")) != views
    home = "/home/hadoop" if views else f"{runner.state_dir}/node/i-1/root/home/hadoop"
    assert log(s3, "stdout") == f"{home}\n"


def test_a_system_without_namespaces_is_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = tmp_path / "bin" / "unshare"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2; exit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(refusing.parent))
    assert find_view(tmp_path) == View(reason="unshare: unshare failed: Operation not permitted")
    refusing.unlink()
    assert find_view(tmp_path) == View(reason="there is no unshare(1)")
    assert not (tmp_path / "probe").exists()


@pytest.mark.parametrize(
    ("master", "said"), [(True, "primary\n"), (False, "worker, nothing to do\n")], ids=["primary", "worker"]
)
def test_a_script_learns_whether_it_is_on_the_primary(
    view: View, runner: ProcessStepRunner, s3: Any, master: Any, said: str
) -> None:
    """By grep, as in the EMR documentation: a line has one value."""
    script = (
        b"#!/bin/bash\nset -e\nif grep isMaster /mnt/var/lib/info/instance.json | grep -q true; then\n  echo primary\n"
        b"else\n  echo worker, nothing to do\n  exit 0\nfi\n"
    )
    info = {"instance.json": {"isMaster": master, "isRunningNameNode": not master}}
    assert run(runner, work := action(s3, script, **info)) == StepResult(succeeded=True, exit_code=0)
    assert told(runner, work) == said


@pytest.mark.parametrize(
    ("script", "out"),
    [
        (b'# Licence text first.\n\nset -e\necho ready "$1"\n', "ready now\n"),
        (b"#!/bin/bash -e\nfalse\necho not reached\n", None),
        (b"#! /usr/bin/env python3\nimport sys; print(sys.argv[1])\n", "now\n"),
        (b"#!/usr/bin/python3\nimport sys; print('/node/i-1/python' in sys.prefix)\n", "True\n"),
        (b"", ""),
    ],
)
def test_a_script_is_run_by_its_interpreter_and_without_one_by_the_shell(
    without_views: ProcessStepRunner, s3: Any, script: bytes, out: str | None
) -> None:
    result = run(without_views, work := action(s3, script, "now"))
    assert result.succeeded == (out is not None)
    assert told(without_views, work) == (out or "")


@pytest.mark.parametrize(
    ("script", "succeeds", "warning"),
    [
        (
            b"#!/bin/bash\r\necho hi\r\n",
            False,
            "has Windows line ends (CRLF); convert it, e.g. with dos2unix: its first ",
        ),
        (b"#!/bin/bash\necho hi\r\n", True, "has Windows line ends (CRLF)"),
        (b"echo hi\r\n", True, "has Windows line ends (CRLF)"),
        (b"\xef\xbb\xbf#!/bin/bash\necho hi\n", True, "begins with a byte order mark"),
    ],
)
def test_a_script_with_windows_line_endings_is_reported(
    without_views: ProcessStepRunner, s3: Any, script: bytes, succeeds: Any, warning: str
) -> None:
    assert run(without_views, work := action(s3, script)).succeeded == succeeds
    assert f"s3://data/i-1/action.sh {warning}" in told(without_views, work, "stderr")
    assert warning in told(without_views, work, "controller")


@pytest.mark.parametrize(
    "step",
    [
        spec("state-pusher-script"),
        spec("s3://eu-west-1.elasticmapreduce/libs/state-pusher/0.1/fetch", jar="script-runner.jar"),
        spec("s3://elasticmapreduce/libs/state-pusher/0.1/fetch", jar="script-runner.jar"),
    ],
)
def test_the_step_of_enable_debugging_succeeds(without_views: ProcessStepRunner, s3: Any, step: Any) -> None:
    assert run(without_views, step).succeeded


@pytest.mark.parametrize("program", ["s3-dist-cp", "hive-script", "/usr/bin/hadoop", "hdfs", "pig"])
def test_missing_features_of_a_local_cluster_are_reported(
    without_views: ProcessStepRunner, s3: Any, program: str
) -> None:
    result = run(without_views, spec(program, "--src", "s3://data/"))
    name = program.rpartition("/")[2]
    assert not result.succeeded
    assert (result.message or "").startswith(f"{name}: a local cluster has Spark and the AWS CLI, but no ")


@pytest.mark.parametrize("address", ["http://169.254.169.254", "http://169.254.169.254:80", "169.254.169.254"])
def test_the_metadata_service_is_the_node_s_own(
    without_views: ProcessStepRunner, s3: Any, launch: Any, address: str
) -> None:
    instance_id, _ = launch()
    script = f"""#!/bin/bash
set -e
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {address}/latest/api/token)
curl -sf -H "X-aws-ec2-metadata-token: $token" {address}/latest/meta-data/instance-id
wget -qO- --header "X-aws-ec2-metadata-token: $token" {address}/latest/meta-data/instance-id
"""
    work = action(s3, script.encode(), instance_id=instance_id)
    assert run(without_views, work).succeeded, told(without_views, work, "stderr")
    assert told(without_views, work) == instance_id * 2
