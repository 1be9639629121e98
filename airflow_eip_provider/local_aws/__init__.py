"""AWS, EMR and Azure SQL on one laptop: for development, docker-compose and tests."""

from airflow_eip_provider.local_aws.clock import ManualClock, ScaledClock
from airflow_eip_provider.local_aws.durations import Durations
from airflow_eip_provider.local_aws.emr.steps import TimedStepRunner
from airflow_eip_provider.local_aws.server import LocalAws

__all__ = ["Durations", "LocalAws", "ManualClock", "ScaledClock", "TimedStepRunner"]
