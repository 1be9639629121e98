"""Thousands of lease periods on one Elastic IP, by many processes, while calls fail; judged from the event log."""
