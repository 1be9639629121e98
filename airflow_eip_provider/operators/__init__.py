"""Operators: validate, act, wait, finish, undo."""
