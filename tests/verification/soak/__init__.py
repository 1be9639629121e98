"""Daily runs for months on one Elastic IP, on a real Airflow, while calls fail and processes are killed."""
