"""From an ``aws emr create-cluster`` command to Airflow: what it sends, and a DAG around that."""
