"""spark-submit streaming/update.py ARGUMENTS: `headrace stream ARGUMENTS --only update`, on the cluster's own Spark."""

import sys

from headrace.cli import main

if __name__ == "__main__":
    main(["stream", *sys.argv[1:], "--only", "update"])
