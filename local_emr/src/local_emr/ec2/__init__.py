"""EC2: moto's model, with AWS's rules for addresses and a network that reaches the internet."""
