"""The lock stores: DynamoDB, S3, and memory for tests; all implement the contract of ``lease.store``."""
