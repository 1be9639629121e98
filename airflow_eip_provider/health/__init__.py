"""
The health of a primary node: the checks, and the verdict from their results.

This package uses neither Airflow nor AWS clients. ``http`` is its only module with I/O.
"""
