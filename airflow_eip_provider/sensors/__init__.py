"""Sensors that wait for a condition of an address or a cluster."""
