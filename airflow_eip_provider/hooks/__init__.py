"""Hooks: calls to EC2 addresses, and what the stock EMR hook lacks."""
