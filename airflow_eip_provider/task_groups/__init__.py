"""Task groups: create, wait and teardown around your tasks."""
