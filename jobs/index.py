"""spark-submit jobs/index.py ARGUMENTS: the same as `headrace index ARGUMENTS`, on the cluster's own Spark."""

import sys

from headrace.cli import main

if __name__ == "__main__":
    main(["index", *sys.argv[1:]])
