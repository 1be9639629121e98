"""Two daily DAGs share one Elastic IP, on a real Airflow and a local AWS: ``python -m demo [--keep]``."""
