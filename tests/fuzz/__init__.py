"""Generated input beside a reference: ``python -m tests.fuzz`` for minutes, with the other tests for seconds."""
