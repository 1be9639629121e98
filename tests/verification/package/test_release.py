"""``make release-tag`` reports why a commit cannot be published, and then creates no tag."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.dags.conftest import load

ROOT = Path(__file__).resolve().parents[3]
PROJECT = '[project.urls]\nSource = "https://{host}/"\n'


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script in a repository that is ready to be published."""
    script = load(ROOT / "deploy" / "release.py")
    monkeypatch.delitem(sys.modules, "release")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script._run, "__kwdefaults__", {"cwd": tmp_path})
    (tmp_path / "airflow_eip_provider").mkdir()
    (tmp_path / "airflow_eip_provider" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "pyproject.toml").write_text(PROJECT.format(host="example.org"))
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (2026-11-28)\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return script


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "x")


def test_a_commit_that_is_ready_has_no_problem(release):
    assert release.problems() == []


def test_the_placeholder_host_is_refused(release, tmp_path):
    (tmp_path / "pyproject.toml").write_text(PROJECT.format(host="airflow-eip-provider.invalid"))
    commit(tmp_path)
    assert release.problems() == ["pyproject.toml names no repository yet: [project.urls] and the links of the README"]


def test_the_changelog_must_have_the_version_and_its_date(release, tmp_path):
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (unreleased)\n")
    commit(tmp_path)
    assert release.problems() == ['CHANGELOG.md has no heading "## 1.2.3 (YEAR-MONTH-DAY)"']


def test_uncommitted_changes_are_refused(release, tmp_path):
    (tmp_path / "new").touch()
    assert release.problems() == ["there are changes that are not committed"]


def test_an_existing_tag_is_refused(release, tmp_path):
    git(tmp_path, "tag", "v1.2.3")
    assert release.problems() == ["the tag v1.2.3 exists already"]


def test_a_commit_with_a_problem_is_neither_built_nor_tagged(release, tmp_path, monkeypatch, capsys):
    git(tmp_path, "tag", "v1.2.3")
    monkeypatch.setattr(sys, "argv", ["release.py", "--tag"])
    monkeypatch.setattr(release, "build", lambda: pytest.fail("it built"))
    assert release.main() == 1
    assert "the tag v1.2.3 exists already" in capsys.readouterr().err
