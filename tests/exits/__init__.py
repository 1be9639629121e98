"""Every exit that Airflow has, on real Airflow processes, each proven from the local AWS's event log."""
