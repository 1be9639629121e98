"""The job of the batches: it asks a web page for its public address, and runs for some seconds."""

import os
import sys
import time
import urllib.request

seen = urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/my-ip").read().decode()
sys.stdout.write(f"seen from {seen}\n")
time.sleep(float(sys.argv[1]))
