"""spark-submit jobs/compact.py ARGUMENTS: the same as `headrace compact ARGUMENTS`, on the cluster's own Spark."""

import sys

from headrace.cli import main

if __name__ == "__main__":
    main(["compact", *sys.argv[1:]])
