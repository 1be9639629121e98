"""What is read of AWS, typed: no hook, no Airflow, and nothing that changes anything."""
