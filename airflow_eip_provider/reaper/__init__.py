"""Terminates orphaned clusters whose owner has finished, and frees their address and lease."""

from airflow_eip_provider.reaper.owners import Owners
from airflow_eip_provider.reaper.reaper import Outcome, Reaper
from airflow_eip_provider.reaper.survey import Decision, JudgedCluster, LeftAddress, Survey

__all__ = ["Decision", "JudgedCluster", "LeftAddress", "Outcome", "Owners", "Reaper", "Survey"]
