"""Checks of docker-compose.yaml and its files that need no engine; ``make compose-test`` starts it on a real one."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from cryptography.fernet import Fernet

from tests.verification.compose import engine
from tests.verification.compose.engine import ROOT, pinned_images

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES = COMPOSE["services"]
ONE_SHOT = {"airflow-cli", "airflow-init", "mssql-init", "secrets"}
SECRETS = "/run/airflow-secrets"
PINNED = re.compile(r"[\w./-]+:\d+[\w.]*(\.\d|-CU\d)[\w.-]*")


def needs(name: str) -> set[str]:
    """Return the services that a service waits for, directly or indirectly."""
    direct = set(SERVICES[name].get("depends_on", {}))
    return direct.union(*map(needs, direct))


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_bound_to_this_machine(name):
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_images_are_pinned():
    assert pinned_images().keys() == {"BASE_IMAGE", "POSTGRES_IMAGE", "MSSQL_IMAGE"}
    assert all(PINNED.fullmatch(image) for image in pinned_images().values())
    [default] = re.findall(r"^ARG BASE_IMAGE=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert default == pinned_images()["BASE_IMAGE"]


def test_every_other_image_is_built_here_by_one_service():
    others = {service["image"] for service in SERVICES.values() if not service["image"].startswith("${")}
    built = [service["image"] for service in SERVICES.values() if "build" in service]
    assert sorted(built) == sorted(others)


@pytest.mark.parametrize("image", ["airflow", "local-aws"])
def test_packages_are_pinned_without_addresses(image):
    lines = (ROOT / "requirements" / f"compose-{image}.txt").read_text().splitlines()
    assert lines
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)


@pytest.mark.parametrize("name", SERVICES)
def test_no_setting_has_a_secret(name):
    """Secrets are read from files that are made at the first start."""
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search("PASSWORD|SECRET|KEY|TOKEN|CONN(_|$)", variable):
            assert variable.endswith(("_CMD", "_FILE"))
            assert value.removeprefix("cat ").startswith(f"{SECRETS}/")
    assert name == "secrets" or f"airflow-secrets:{SECRETS}" not in SERVICES[name].get("volumes", [])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_reads_secrets_starts_after_they_were_made(name):
    reads = f"airflow-secrets:{SECRETS}:ro" in SERVICES[name].get("volumes", [])
    assert not reads or "secrets" in needs(name)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_healthcheck_or_ends(name):
    service = SERVICES[name]
    assert ("healthcheck" in service) == (name not in ONE_SHOT)
    assert service.get("restart", "no") == ("no" if name in ONE_SHOT else "unless-stopped")


@pytest.mark.parametrize("name", SERVICES)
def test_dependencies_are_waited_for_until_they_are_ready(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert how == {"condition": expected}


@pytest.mark.parametrize("name", SERVICES)
def test_the_project_is_mounted_read_only_and_data_is_in_volumes(name):
    for mount in SERVICES[name].get("volumes", []):
        source, _, *how = mount.split(":")
        assert how == ["ro"] if source.startswith("./") else source in COMPOSE["volumes"]


def test_all_services_of_airflow_have_the_same_settings():
    airflow = [s for s in SERVICES.values() if s["image"] == SERVICES["airflow-scheduler"]["image"]]
    settings = [service["environment"] for service in airflow if "environment" in service]
    assert len(settings) == 6
    assert all(each == settings[0] for each in settings)


def make_secrets(folder) -> dict[str, str]:
    subprocess.run([ROOT / "docker" / "make-secrets.sh", folder], check=True)
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_secrets_are_made_once_and_fit_their_use(tmp_path):
    made = make_secrets(tmp_path)
    named = set(re.findall(rf"{SECRETS}/(\w+)", (ROOT / "docker-compose.yaml").read_text()))
    assert made.keys() == named
    assert len(set(made.values())) == len(made)
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o444 for file in tmp_path.iterdir())
    Fernet(made["fernet_key"])
    assert made["sql_alchemy_conn"] == f"postgresql+psycopg2://airflow:{made['postgres_password']}@postgres/airflow"
    # SQL Server wants three kinds of characters.
    assert all(re.search(kind, made["mssql_sa_password"]) for kind in ("[a-z]", "[A-Z]", "[=_-]"))
    assert make_secrets(tmp_path) == made


@pytest.fixture
def health_url():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"scheduler": {"status": "healthy"}, "triggerer": {"status": "unhealthy"}}')

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("component", "code"), [("scheduler", 0), ("triggerer", 1), ("dag_processor", 1), (None, 0)], ids=str
)
def test_the_healthcheck_checks_a_component_or_only_the_answer(health_url, component, code):
    arguments = [health_url, component] if component else [health_url]
    command = [sys.executable, ROOT / "docker" / "healthcheck.py", *arguments]
    assert subprocess.run(command, check=False, capture_output=True).returncode == code


def test_a_service_that_does_not_answer_is_not_healthy():
    command = [sys.executable, ROOT / "docker" / "healthcheck.py", "http://127.0.0.1:9/"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


@pytest.mark.parametrize("before", ["1\n", "0\n"])
def test_packets_between_containers_are_not_filtered_while_the_engine_runs(monkeypatch, tmp_path, before):
    setting = tmp_path / "bridge-nf-call-iptables"
    setting.write_text(before)
    monkeypatch.setattr(engine, "FILTERED", setting)
    with engine.unfiltered_bridges():
        assert setting.read_text().strip() == "0"
    assert setting.read_text() == before


def test_without_a_filter_nothing_is_changed(monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "FILTERED", tmp_path / "missing")
    with engine.unfiltered_bridges():
        assert not list(tmp_path.iterdir())
