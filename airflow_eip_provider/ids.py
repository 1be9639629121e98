"""
The forms of the IDs that AWS gives, one pattern for each kind.

This module also runs on the cluster, with Python 3.7 and only the standard library.
"""

from __future__ import annotations

import re

# Amazon EC2 User Guide, "Resource IDs": 17 hexadecimal digits; resources from before 2018 may have 8.
_HEX = "([0-9a-f]{8}|[0-9a-f]{17})"

ALLOCATION_ID = re.compile(f"eipalloc-{_HEX}")
INSTANCE_ID = re.compile(f"i-{_HEX}")
NAT_GATEWAY_ID = re.compile(f"nat-{_HEX}")
ROUTE_TABLE_ID = re.compile(f"rtb-{_HEX}")
SUBNET_ID = re.compile(f"subnet-{_HEX}")
VPC_ID = re.compile(f"vpc-{_HEX}")
# EMR API Reference, "Cluster": upper-case letters and digits, 13 today.
JOB_FLOW_ID = re.compile("j-[0-9A-Z]+")
