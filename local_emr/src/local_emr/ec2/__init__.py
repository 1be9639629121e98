"""EC2: moto's model of it, under AWS's own rules for addresses, with a network that reaches the internet."""
