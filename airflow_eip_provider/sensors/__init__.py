"""Sensors: wait for a fact about an address."""
