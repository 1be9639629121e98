#!/bin/bash
# Bootstrap action of the cluster: installs what read_azure_sql.py imports and EMR does not include. If python-tds is
# already installed, in your own AMI or on the local EMR, there is nothing to do.
set -euo pipefail
python3 -c 'import pytds' 2>/dev/null && exit
# Versions for the Python 3.9 of EMR 7, and newer. The Elastic IP is associated while bootstrap actions run, which
# may reset their connections: then pip is tried again.
for attempt in 1 2 3 4 5; do
    sudo python3 -m pip install --quiet boto3==1.42.97 certifi==2026.10.18 pyOpenSSL==26.2.0 python-tds==1.17.1 && exit
    echo "pip install failed, attempt $attempt of 5" >&2
    sleep $((attempt * 10))
done
exit 1
