"""Amazon EMR: clusters that take time, own EC2 instances and run steps."""
