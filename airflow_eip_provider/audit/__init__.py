"""Proof afterwards, from VPC Flow Logs: which network interfaces connected to a database while an address was whose."""
