"""Tests with generated input, compared with a reference: ``python -m tests.verification.fuzz``, for minutes."""
