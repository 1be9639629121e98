"""The exit code of the compose test: when it is skipped, and when it fails."""

from __future__ import annotations

import contextlib
import os
import shutil

import pytest

from demo.checks import Check
from tests.verification.compose import __main__ as command
from tests.verification.compose import engine as engines
from tests.verification.compose.engine import EngineError
from tests.verification.compose.stack import Stack


@pytest.fixture
def no_engine(monkeypatch):
    monkeypatch.setattr(engines, "_answers", lambda _: False)


@pytest.fixture
def running_engine(monkeypatch):
    monkeypatch.setattr(command, "engine", lambda: contextlib.nullcontext({}))


def test_without_any_engine_it_is_skipped_with_a_message(monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert command.main([]) == 0
    assert capsys.readouterr().out.startswith(
        "SKIPPED: no engine answers 'docker info', and 'dockerd' is not installed"
    )


def test_without_an_engine_it_is_skipped_for_other_users_than_root(no_engine, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert command.main([]) == 0
    assert "SKIPPED: no engine answers 'docker info', and only root may start 'dockerd'" in capsys.readouterr().out


def test_when_the_engine_does_not_start_it_is_skipped_with_the_engines_error(no_engine, monkeypatch, capsys, tmp_path):
    (daemon := tmp_path / "dockerd").write_text("#!/bin/sh\necho 'no cgroups here' >&2; exit 1\n")
    daemon.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(daemon))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(engines, "FILTERED", tmp_path / "missing")  # not the machine's
    assert command.main([]) == 0
    assert "SKIPPED: 'dockerd' does not start here: no cgroups here" in capsys.readouterr().out


def test_with_an_engine_but_no_images_it_fails(running_engine, monkeypatch, capsys):
    def no_images(*_, **__):
        raise EngineError("no images")

    monkeypatch.setattr(command, "base_images", no_images)
    assert command.main([]) == 1
    assert capsys.readouterr().out.endswith("The test stopped: no images\n\nFAIL\n")


def test_with_an_engine_but_without_compose_it_fails(running_engine, monkeypatch, capsys):
    monkeypatch.setattr(command, "base_images", lambda *_, **__: {})
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert command.main([]) == 1
    assert "neither 'docker compose' nor 'docker-compose' is installed" in capsys.readouterr().out


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 1)])
def test_one_failed_check_fails_the_test(running_engine, monkeypatch, passed, code):
    class Scenario:
        def __init__(self, *_: object, **__: object) -> None:
            self.checks = [Check(name="a", passed=True, detail=""), Check(name="b", passed=passed, detail="")]

        def run(self) -> None:
            pass

    monkeypatch.setattr(command, "base_images", lambda *_, **__: {})
    monkeypatch.setattr(command, "Scenario", Scenario)
    monkeypatch.setattr(Stack, "__init__", lambda *_, **__: None)
    assert command.main([]) == code
