"""spark-submit jobs/purge.py ARGUMENTS: the same as `headrace purge ARGUMENTS`, on the cluster's own Spark."""

import sys

from headrace.cli import main

if __name__ == "__main__":
    main(["purge", *sys.argv[1:]])
