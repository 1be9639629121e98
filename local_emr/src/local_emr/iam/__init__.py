"""IAM, as far as the local AWS enforces it: a policy for an access key, asked before every call."""
