"""The former place of the local EMR, which is a distribution of its own."""

import sys

if __name__ == "__main__":
    sys.stderr.write(
        "The local EMR is a distribution of its own: pip install 'airflow-eip-provider[local]'\n"
        "Start it with: python -m local_emr, which takes the same options.\n"
    )
    sys.exit(2)
