"""Soak test: months of daily runs on one Elastic IP, on a real Airflow, while calls fail and processes are killed."""
