"""Every way in which a task or a DAG run can end, on a real Airflow, judged from the local EMR's event log."""
