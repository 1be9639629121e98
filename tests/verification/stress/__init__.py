"""Thousands of tenancies on one Elastic IP, lived by many processes on bad days, and a judge that trusts none."""
