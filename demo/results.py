"""The results of the jobs: Parquet files in the local S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from demo.seed import BUCKET
from demo.tables import text

if TYPE_CHECKING:
    from pathlib import Path

    from demo.aws import AwsClient
    from demo.checks import Row
    from demo.tables import Table


def parquet_rows(
    aws: AwsClient, table: Table, *, folder: Path, prefix: str | None = None, bucket: str = BUCKET
) -> list[Row]:
    """
    Fetch the files of a table and read their rows.

    :param folder: the files are copied into a new folder in it.
    :param prefix: of the files in the bucket; by default the table's name.
    :return: no rows if there are no files.
    """
    prefix = prefix or table.name
    target = folder / bucket / prefix
    target.mkdir(parents=True)
    s3 = aws.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", []) if entry["Key"].endswith(".parquet")]
    for number, key in enumerate(keys):
        s3.download_file(bucket, key, str(target / f"{number}.parquet"))
    if not keys:
        return []
    names = ", ".join(f'"{name}"' for name, _ in table.columns)
    with duckdb.connect() as reader:
        rows = reader.sql(f"SELECT {names} FROM read_parquet('{target}/*.parquet')").fetchall()  # noqa: S608 - our path
    return [tuple(text(value) for value in row) for row in rows]
