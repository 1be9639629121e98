"""Where records are kept: DynamoDB, S3, and memory for tests; each keeps the contract of lock.store."""
