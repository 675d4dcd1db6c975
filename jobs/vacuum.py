"""spark-submit jobs/vacuum.py ARGUMENTS: the same as `headrace vacuum ARGUMENTS`, on the cluster's own Spark."""

import sys

from headrace.cli import main

if __name__ == "__main__":
    main(["vacuum", *sys.argv[1:]])
