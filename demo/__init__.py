"""Two daily DAGs share one Elastic IP, on a real Airflow and a local EMR: ``python -m demo [--all] [--keep]``."""
