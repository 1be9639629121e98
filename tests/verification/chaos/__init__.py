"""Runs a whole lease period many times, each time with one fault at a call: ``python -m tests.verification.chaos``."""
