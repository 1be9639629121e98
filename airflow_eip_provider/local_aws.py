"""The former location of the local EMR, which is now a separate distribution."""

import sys

if __name__ == "__main__":
    sys.stderr.write(
        "The local EMR is now a separate distribution: pip install 'airflow-eip-provider[local]'\n"
        "Start it with python -m local_emr, which has the same options.\n"
    )
    sys.exit(2)
