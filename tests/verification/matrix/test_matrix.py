"""Tests of the matrix itself: how results are counted, and what is written into the README."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.verification.matrix.cells import CELLS
from tests.verification.matrix.report import Row, code_digest, load, save, screen_lines, write_readme
from tests.verification.matrix.suites import TOOLS, Outcome, read_report

REPORT = """<testsuites><testsuite tests="6">
<testcase name="a"/><testcase name="b"/>
<testcase name="c"><failure message="no"/></testcase>
<testcase name="d"><error message="no fixture"/></testcase>
<testcase name="e"><skipped message="no Java"/></testcase>
<testcase name="f"><skipped message="collection skipped">('/f.py', 9, 'Skipped: too old')</skipped></testcase>
</testsuite></testsuites>"""
LOG = Path("tests.log")


def outcome(*, passed: int = 3, failed: int = 0, **skipped: int) -> Outcome:
    return Outcome(passed=passed, failed=failed, skipped=skipped, log=LOG)


def row(**changes: object) -> Row:
    return Row(**{"cell": CELLS[0], "airflow": "2.11.2", "amazon": "9.22.0", "tests": outcome(), **changes})


def test_every_kind_of_result_is_counted():
    skipped = {"no Java": 1, "too old": 1}
    assert read_report(REPORT, exit_code=1, log=LOG) == outcome(passed=2, failed=2, **skipped)


def test_an_exit_code_without_a_failed_test_is_a_failure():
    passing = '<testsuites><testsuite><testcase name="a"/></testsuite></testsuites>'

    assert read_report(passing, exit_code=2, log=LOG).failed == 1
    assert read_report(passing, exit_code=0, log=LOG).failed == 0


@pytest.mark.parametrize(
    ("more", "passed", "failed"),
    [(outcome(passed=2), 5, 0), (outcome(passed=1, failed=1), 3, 2), (outcome(passed=1), 3, 2)],
    ids=["all", "one fails again", "one is not run"],
)
def test_failed_tests_count_as_passed_only_if_all_of_them_pass_again(more, passed, failed):
    after = outcome(failed=2).after(more)

    assert (after.passed, after.failed, after.again) == (passed, failed, 2 if not failed else 0)
    assert ("(2 only on a second run)" in "".join(row(tests=after).texts())) == (not failed)


def test_every_reason_for_a_skip_is_shown():
    rows = [row(tests=outcome(**{"no Java": 2})), Row(cell=CELLS[1], skipped="no Python")]
    shown = "\n".join(screen_lines(rows))

    assert "3 pass, 2 skipped" in shown
    assert f"{CELLS[0].name}: 2 skipped: no Java" in shown
    assert f"{CELLS[1].name}: skipped: no Python" in shown


def test_the_table_replaces_the_one_in_the_readme(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- matrix: written by make matrix -->\nold\n<!-- end of matrix -->\nafter\n")

    write_readme([row(day=outcome())], readme)

    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| pins of Amazon MWAA 2.11.2 | 3.12 | 2.11.2 | 9.22.0 | 3 pass | passes |" in text


@pytest.mark.parametrize(
    "bad", [row(tests=outcome(failed=1)), row(day=outcome(failed=1)), Row(cell=CELLS[0], skipped="no")]
)
def test_the_readme_is_not_changed_unless_every_cell_passed(tmp_path, bad):
    readme = tmp_path / "README.md"
    readme.write_text("as it was")

    with pytest.raises(ValueError, match=CELLS[0].name):
        write_readme([row(), bad], readme)

    assert readme.read_text() == "as it was"


def test_the_folders_that_are_left_out_exist():
    assert [name for name in TOOLS if not (Path(__file__).parents[2] / name).is_dir()] == []


def test_a_saved_result_is_valid_for_the_same_code_only(tmp_path):
    result = row(tests=outcome(**{"no Java": 2}), day=outcome(passed=1))
    save(result, tmp_path, code="this code")

    assert load(result.cell, tmp_path, code="this code") == result
    assert load(result.cell, tmp_path, code="other code").skipped
    assert load(result.cell, tmp_path / "never", code="this code").skipped


def test_the_digest_covers_the_released_files_only(tmp_path):
    (tmp_path / "airflow_eip_provider" / "__pycache__").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("")
    module = tmp_path / "airflow_eip_provider" / "a.py"
    module.write_text("1")
    before = code_digest(tmp_path)

    (tmp_path / "README.md").write_text("2")
    (tmp_path / "airflow_eip_provider" / "__pycache__" / "a.pyc").write_text("2")
    assert code_digest(tmp_path) == before
    module.write_text("2")
    assert code_digest(tmp_path) != before
