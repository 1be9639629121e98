"""Audits, with VPC Flow Logs, whether the connections to a database came from the holder of the address."""
