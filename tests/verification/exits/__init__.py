"""Every exit that Airflow has, on real Airflow processes, each proven from the local EMR's event log."""
