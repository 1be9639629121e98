"""The lease of an address as a process uses it: the lease protocol on AWS and a lock store."""
