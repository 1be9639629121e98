"""A whole lease period again and again, each time with one fault at a call: ``python -m tests.verification.chaos``."""
