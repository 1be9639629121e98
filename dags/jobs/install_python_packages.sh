#!/bin/bash
# Bootstrap action of the cluster: what read_azure_sql.py imports and EMR does not bring. Where python-tds is already, in
# an AMI of your own or on the local EMR, there is nothing to do.
set -euo pipefail
python3 -c 'import pytds' 2>/dev/null ||
    sudo python3 -m pip install --quiet boto3 certifi pyOpenSSL 'python-tds>=1.15'
