"""
The lease of one Elastic IP: its record, the transitions of the record, and the protocol that tasks follow.

Pure functions on frozen data: no I/O, clock, logging, Airflow or boto3. It imports the standard library and this
package's errors only.
"""
