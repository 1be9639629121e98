"""
The page "Elastic IPs" of Airflow: who has each address, who waits, and who had it.

``snapshot`` reads, ``view`` makes of that what a viewer may see, ``page`` renders it; ``airflow3`` and ``airflow2``
connect that with a web server, and ``plugin`` with Airflow.
"""
