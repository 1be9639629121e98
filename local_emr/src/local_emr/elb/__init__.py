"""
Network Load Balancers (``elbv2``) that check their targets and forward connections.

moto answers most of the API. What it omits is here, following Elastic Load Balancing's documentation (user guide for
Network Load Balancers: "Health checks for Network Load Balancer target groups", "Target groups for your Network Load
Balancers"; API Reference: TargetHealth, RegisterTargets, DeregisterTargets):

- A target is ``initial`` until it has been checked often enough, then ``healthy`` or ``unhealthy``; ``draining`` for
  the deregistration delay; ``unused`` without a listener, an enabled zone or a running instance.
- Each healthy target of an enabled zone gets connections. When none is healthy the load balancer fails open: all
  targets do. Without cross-zone load balancing, which is the default, it chooses a zone first and then a target in it.
- When a target becomes unhealthy its connections are reset, unless the load balancer fails open.

Each load balancer has its own loopback address as ``DNSName``, with the ports of its listeners. Targets are chosen in
turn, where AWS hashes the connection. Only TCP listeners forward; all zones share one address.
"""
