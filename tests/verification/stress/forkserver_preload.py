"""Imported once by the process that forks the workers: Airflow, and AWS's service models."""

from __future__ import annotations

from harness.service_models import parse_now
from tests.verification.stress import worker

__all__ = ["worker"]

parse_now("ec2", "emr", "dynamodb", "s3")
