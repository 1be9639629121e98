"""The command line: ``airflow-eip``, and the same commands as ``airflow eip`` from Airflow 3.2 on."""
