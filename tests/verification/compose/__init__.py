"""The stack of docker-compose.yaml, started with a real engine: ``python -m tests.verification.compose``."""
