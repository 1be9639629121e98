"""
The lease of one Elastic IP: its record, the transitions of the record, and the protocol that tasks follow.

Pure: no I/O, no clock, no logging, no Airflow, no boto3; the standard library and this package's errors only.
"""
