"""A fixed public IP address for Amazon EMR clusters, from Apache Airflow."""

__version__ = "0.2.0.dev0"
