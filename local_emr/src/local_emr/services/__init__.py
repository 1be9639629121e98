"""
Services at the private address of a node, which is reachable on this machine.

The private address of an instance that EMR launched is a loopback address (``127.x.y.z``, see ``loopback``). Programs
on this machine connect to the address that DescribeInstances or ListInstances returns, at the same ports as on EMR,
without any configuration. Two things differ from AWS: the address is not in the CIDR block of its subnet, and
``PrivateDnsName`` cannot be resolved, so connect to ``PrivateIpAddress``.
"""
