"""Triggers: wait and report; they never change AWS."""
