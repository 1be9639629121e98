"""A stand-in for Azure SQL Database: real TDS for real clients, T-SQL over DuckDB, and a firewall like Azure's."""

from local_emr.azure_sql.database import Database, SqlError
from local_emr.azure_sql.firewall import Firewall
from local_emr.azure_sql.server import AzureSqlServer

__all__ = ["AzureSqlServer", "Database", "Firewall", "SqlError"]
