"""Imports an ``aws emr create-cluster`` command into Airflow: the request that it sends, and a DAG for it."""
