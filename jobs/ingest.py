"""spark-submit jobs/ingest.py ARGUMENTS: the same as `headrace ingest ARGUMENTS`, on the cluster's own Spark."""

import sys

from headrace.cli import main

if __name__ == "__main__":
    main(["ingest", *sys.argv[1:]])
