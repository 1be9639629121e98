"""The part of IAM that the local EMR enforces: a policy per access key, evaluated before every call."""
