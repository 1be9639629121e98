"""A fixed public IP address for Amazon EMR clusters, from Apache Airflow."""

__version__ = "0.1.0"
