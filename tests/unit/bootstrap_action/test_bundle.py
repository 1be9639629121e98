"""What the bootstrap action carries: the same sources, for the Python that EMR's nodes have."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import botocore.exceptions
import botocore.parsers
import pytest

from airflow_eip_provider.bootstrap_action import botocore_errors
from airflow_eip_provider.bootstrap_action.bundle import Options, bootstrap_script, bundle
from airflow_eip_provider.cli.__main__ import main
from tests.pythons import interpreter

if TYPE_CHECKING:
    from pathlib import Path

STORE = "dynamodb://leases?region=eu-west-1"
PROGRAMS = ["parameters", "lease"]
IMPORT_ALL = """
import sys, zipfile, importlib
names = [name[:-3].replace("/", ".") for name in zipfile.ZipFile(sys.argv[1]).namelist() if name.endswith(".py")]
sys.path.insert(0, sys.argv[1])
for name in names:
    if name != "__main__":
        importlib.import_module(name[:-9] if name.endswith(".__init__") else name)
print(len(names))
"""


def options(**given: object) -> Options:
    return Options(**{"wait_seconds": 60, "goes_on": False, "lock_store": STORE, "environment": "cron", **given})


@pytest.mark.parametrize(("version", "programs"), [("3.9", PROGRAMS), ("3.7", ["parameters"]), (None, PROGRAMS)])
def test_every_module_imports_without_any_package(version, programs, tmp_path: Path) -> None:
    python = interpreter(version) if version else sys.executable
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    packed = tmp_path / "programs.pyz"
    packed.write_bytes(bundle(programs))
    done = subprocess.run(
        [python, "-I", "-S", "-c", IMPORT_ALL, str(packed)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(zipfile.ZipFile(packed).namelist())


def test_a_parameters_file_is_read_by_an_old_python(tmp_path: Path) -> None:
    if (python := interpreter("3.7")) is None:
        pytest.skip("there is no Python 3.7 here, which EMR 6 has")
    packed, given = tmp_path / "programs.pyz", tmp_path / "parametersValues.json"
    packed.write_bytes(bundle(["parameters"]))

    def read(text: str) -> subprocess.CompletedProcess[str]:
        given.write_text(text, encoding="utf-8")
        command = [python, "-I", "-S", str(packed), "parameters", str(given)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    good = read('{"allocationID": "eipalloc-12345678", "clusterVPCID": "vpc-12345678"}')
    assert (good.returncode, good.stdout) == (0, "eipalloc-12345678 vpc-12345678\n")
    bad = read('{"clusterVPCID": "vpc-12345678"}')
    assert bad.returncode == 2
    assert "key 'allocationID' is missing" in bad.stderr


def test_equal_options_give_equal_bytes_and_the_script_is_small() -> None:
    first, second = bootstrap_script(options()), bootstrap_script(options())
    assert first == second
    assert len(first) < 120_000
    assert len(bootstrap_script(options(lock_store=None))) < 25_000
    entries = zipfile.ZipFile(io.BytesIO(bundle(PROGRAMS))).infolist()
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}


def test_the_script_has_nothing_of_the_machine_that_generates_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AIRFLOW__EIP__ENVIRONMENT"):
        monkeypatch.setenv(name, "sesame")
    script = bootstrap_script(options())
    (packed,) = re.findall(r"<<'PROGRAMS'\n(.*)\nPROGRAMS\n", script, re.DOTALL)
    archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(packed)))
    texts = [script, *(archive.read(name).decode() for name in archive.namelist())]
    assert not any("sesame" in text or sys.prefix in text for text in texts)


@pytest.mark.parametrize("lock_store", [None, STORE])
def test_it_is_a_shell_script_without_placeholders(lock_store: str | None) -> None:
    script = bootstrap_script(options(lock_store=lock_store, goes_on=True, environment="it's"))
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, timeout=60, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert not re.search(r"@[A-Z_]+@", script)
    assert "wait=60s" in script
    assert "when_busy=continue" in script
    assert """environment='it'"'"'s'""" in script


@pytest.mark.parametrize("name", [name for name in vars(botocore_errors) if name.endswith("Error")])
def test_the_replacement_errors_have_botocores_hierarchy(name: str) -> None:
    real = getattr(botocore.exceptions, name, None) or getattr(botocore.parsers, name)
    ours = getattr(botocore_errors, name)
    related = issubclass(real, botocore.exceptions.BotoCoreError)
    assert related == issubclass(ours, botocore_errors.BotoCoreError) or name == "ResponseParserError"
    assert not issubclass(ours, botocore_errors.ClientError) or name == "ClientError"


def test_a_client_error_reads_as_botocores_does() -> None:
    response = {"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}
    real = botocore.exceptions.ClientError(response, "ListSteps")
    ours = botocore_errors.ClientError(response, "ListSteps")
    assert (str(ours), ours.response, ours.operation_name) == (str(real), real.response, real.operation_name)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lock-store", "s3://leases/eip"], "conditional writes to S3 need a newer AWS CLI than EMR's images have"),
        (
            ["--lock-store", "dynamodb://leases?create=true"],
            "or create it yourself: aws dynamodb create-table --table-name leases --billing-mode",
        ),
        (["--lock-store", "leases"], "its scheme is ''"),
        (["--lock-store", ""], "reading --lock-store: its scheme is ''"),
        (["--environment", "a/b"], "'a/b' is not a name of 1 to 64 letters"),
        (["--output", "/none/x.sh"], "error: writing '/none/x.sh': No such file or directory; name a file"),
        (["--wait", "1h"], "reading --wait: 1:00:00 is too long: EMR ends a cluster whose bootstrap actions take"),
        (["--wait", "soon"], "'soon' is not a duration"),
        (["--when-busy", "steal"], "invalid choice: 'steal'"),
    ],
)
def test_a_store_that_a_node_cannot_use_is_refused(arguments, said, capsys) -> None:
    try:
        status = main(["bootstrap-script", *arguments])
    except SystemExit as refusal:
        status = refusal.code
    assert status == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("uri", "grace"), [("dynamodb://leases", "60"), ("dynamodb://leases?grace=90", "90")])
def test_a_node_uses_the_configured_grace_unless_the_uri_has_one(uri, grace, monkeypatch, capsys) -> None:
    monkeypatch.setenv("AIRFLOW__EIP__GRACE", "60")
    assert main(["bootstrap-script", "--lock-store", uri]) == 0
    assert f"\nlock_store='dynamodb://leases?grace={grace}'\n" in capsys.readouterr().out


def test_the_command_prints_the_script_or_writes_it(tmp_path: Path, capsys) -> None:
    assert main(["bootstrap-script", "--wait", "59m"]) == 0
    printed = capsys.readouterr().out
    assert "wait=3540s" in printed
    assert (
        main(["bootstrap-script", "--wait", "59m", "--lock-store", "none", "--output", str(tmp_path / "associate.sh")])
        == 0
    )
    assert (tmp_path / "associate.sh").read_text(encoding="utf-8") == printed
    assert "written to" in capsys.readouterr().err
