"""
Network Load Balancers (``elbv2``) that check their targets and forward connections.

moto answers most of the API. What it leaves out is here, by the documentation of Elastic Load Balancing (user guide for
Network Load Balancers: "Health checks for Network Load Balancer target groups", "Target groups for your Network Load
Balancers"; API Reference: TargetHealth, RegisterTargets, DeregisterTargets):

- A target is ``initial`` until it was checked often enough, then ``healthy`` or ``unhealthy``, ``draining`` for the
  deregistration delay, ``unused`` where no listener, no enabled zone or no running instance makes use of it.
- Each healthy target of an enabled zone gets connections. When none is healthy the load balancer fails open: all of
  them do. Without cross-zone load balancing, the default, a zone is chosen first and then a target in it.
- When a target becomes unhealthy its connections are reset, unless the load balancer fails open.

A load balancer's ``DNSName`` is a loopback address of its own, with the ports of its listeners. Where AWS hashes a
connection to choose a target, here they take turns. Only TCP listeners forward; the zones have one address together.
"""
