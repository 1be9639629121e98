"""A whole tenancy again and again, each time with one fault at one of its calls: ``python -m tests.chaos``."""
