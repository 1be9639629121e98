"""Runs the steps and bootstrap actions of local EMR clusters as real processes."""

from local_emr.steps.runner import ProcessStepRunner

__all__ = ["ProcessStepRunner"]
