"""Runs the tests on every supported Airflow and Python: ``python -m tests.verification.matrix``."""
