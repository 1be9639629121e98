"""
The page "Elastic IPs" of Airflow: who has each address, who waits for it, and who had it.

``snapshot`` reads, ``view`` selects what a viewer may see, ``page`` renders it; ``airflow3`` and ``airflow2`` serve it
in a web server, and ``plugin`` registers it with Airflow.
"""
