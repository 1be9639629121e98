"""Task groups: create, wait and teardown, wired around the user's tasks."""
