"""spark-submit streaming/ingest.py ARGUMENTS: `headrace stream ARGUMENTS --only ingest`, on the cluster's own Spark."""

import sys

from headrace.cli import main

if __name__ == "__main__":
    main(["stream", *sys.argv[1:], "--only", "ingest"])
