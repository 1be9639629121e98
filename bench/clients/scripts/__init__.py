"""Scripts that are run by path in separate processes, with the clients' virtual environment."""
