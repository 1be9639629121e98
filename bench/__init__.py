"""Benchmarks: what the lock costs, and how long runs take that share an address (`make bench`)."""
