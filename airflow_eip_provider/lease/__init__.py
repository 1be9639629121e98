"""
The non-overlap lock of one Elastic IP: records, transitions, and the programs that tasks follow.

Pure: no I/O, no clock, no logging, no Airflow, no boto3; the standard library and this package's errors only.
"""
