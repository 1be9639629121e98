#!/bin/bash
# Bootstrap action of the cluster: what read_azure_sql.py imports and EMR does not bring.
set -euo pipefail
sudo python3 -m pip install --quiet boto3 certifi pyOpenSSL 'python-tds>=1.15'
