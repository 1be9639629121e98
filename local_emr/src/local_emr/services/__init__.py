"""
What is served at the private address of a node, and how that address is reached on this machine.

The private address that EC2 and EMR tell of an instance which EMR launched is a loopback address (``127.x.y.z``, see
``loopback``), so whoever runs on this machine connects to just what DescribeInstances or ListInstances says, with the
ports that the services have on EMR. Nothing has to be configured. Two things differ from AWS: the address is not in the
CIDR block of its subnet, and nothing resolves ``PrivateDnsName``, so connect to ``PrivateIpAddress``.
"""
