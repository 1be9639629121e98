"""Every supported Airflow and Python, each with its tests run: ``python -m tests.verification.matrix``."""
