"""A stand-in for Azure SQL Database: real TDS for real clients, T-SQL over DuckDB, and a firewall like Azure's."""

from airflow_eip_provider.local_aws.azure_sql.database import Database, SqlError
from airflow_eip_provider.local_aws.azure_sql.firewall import Firewall
from airflow_eip_provider.local_aws.azure_sql.server import AzureSqlServer

__all__ = ["AzureSqlServer", "Database", "Firewall", "SqlError"]
