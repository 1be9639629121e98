"""What runs in a process of its own, with the clients' virtual environment; the scripts are run by path."""
