"""A batch that prints the address from which it is seen, and runs for some seconds."""

from __future__ import annotations

import os
import sys
import time
import urllib.request

with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/my-ip") as answer:  # noqa: S310 - the local EMR
    sys.stdout.write(f"seen from {answer.read().decode()}\n")
time.sleep(float(sys.argv[1]))
