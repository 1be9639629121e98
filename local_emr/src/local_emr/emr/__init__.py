"""Amazon EMR whose clusters take time, own EC2 instances and run steps."""
