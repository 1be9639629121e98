"""Scripts that run in processes of their own, by path, with the clients' virtual environment."""
