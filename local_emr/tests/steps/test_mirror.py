from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_emr.steps.mirror import BucketMirror

if TYPE_CHECKING:
    from pathlib import Path


def put(s3: Any, **objects: str) -> None:
    for key, body in objects.items():
        s3.put_object(Bucket="data", Key=key, Body=body.encode())


def objects(s3: Any) -> dict[str, str]:
    listed = s3.list_objects_v2(Bucket="data").get("Contents", [])
    return {found["Key"]: s3.get_object(Bucket="data", Key=found["Key"])["Body"].read().decode() for found in listed}


def test_objects_become_files(s3: Any, tmp_path: Path) -> None:
    put(s3, **{"a/b.txt": "hello"})

    assert sorted(BucketMirror(s3, root=tmp_path).fill()) == ["data", "logs"]
    assert (tmp_path / "data/a/b.txt").read_text() == "hello"


def test_changes_of_a_job_appear_in_s3(s3: Any, tmp_path: Path) -> None:
    put(s3, kept="1", changed="1", removed="1")
    mirror = BucketMirror(s3, root=tmp_path)
    mirror.fill()
    (tmp_path / "data/changed").write_text("22")
    (tmp_path / "data/removed").unlink()
    (tmp_path / "data/out/day=1").mkdir(parents=True)
    (tmp_path / "data/out/day=1/part-0").write_text("new")

    told = mirror.flush()

    assert objects(s3) == {"kept": "1", "changed": "22", "out/day=1/part-0": "new"}
    assert sorted(told) == ["deleted s3://data/removed", "put s3://data/changed", "put s3://data/out/day=1/part-0"]


def test_what_others_did_meanwhile_is_left_alone(s3: Any, tmp_path: Path) -> None:
    put(s3, theirs="1")
    mirror = BucketMirror(s3, root=tmp_path)
    mirror.fill()
    put(s3, theirs="2", new="1")

    assert mirror.flush() == []
    assert objects(s3) == {"theirs": "2", "new": "1"}


def test_uncommitted_output_is_no_output(s3: Any, tmp_path: Path) -> None:
    mirror = BucketMirror(s3, root=tmp_path)
    mirror.fill()
    (tmp_path / "data/out/_temporary/0").mkdir(parents=True)
    (tmp_path / "data/out/_temporary/0/part-0").write_text("half")

    mirror.flush()

    assert objects(s3) == {}


def test_keys_that_no_file_can_have_stay_in_s3(s3: Any, tmp_path: Path) -> None:
    keys = {"folder/": "", "a": "1", "a/b": "2", "x//y": "3", "../../out": "4"}
    put(s3, **keys)
    mirror = BucketMirror(s3, root=tmp_path / "mirror")
    mirror.fill()
    mirror.flush()

    assert objects(s3) == keys
    assert [path.name for path in tmp_path.iterdir()] == ["mirror"]
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["2"]
