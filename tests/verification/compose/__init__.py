"""A test of docker-compose.yaml on a real container engine: ``python -m tests.verification.compose``."""
