"""IAM, as far as the local EMR enforces it: a policy for an access key, asked before every call."""
