"""Stress test: thousands of lease periods on one Elastic IP by many processes, while calls fail and processes die."""
