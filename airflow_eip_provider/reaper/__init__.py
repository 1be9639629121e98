"""Ends orphaned clusters whose owner has finished, with their address and their lease."""

from airflow_eip_provider.reaper.owners import Owners
from airflow_eip_provider.reaper.reaper import Outcome, Reaper
from airflow_eip_provider.reaper.survey import Decision, Finding, Found, Survey

__all__ = ["Decision", "Finding", "Found", "Outcome", "Owners", "Reaper", "Survey"]
