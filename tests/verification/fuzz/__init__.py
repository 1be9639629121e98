"""Generated input beside a reference: ``python -m tests.verification.fuzz`` for minutes."""
