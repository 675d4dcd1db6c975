"""spark-submit jobs/promote.py ARGUMENTS: the same as `headrace promote ARGUMENTS`, on the cluster's own Spark."""

import sys

from headrace.cli import main

if __name__ == "__main__":
    main(["promote", *sys.argv[1:]])
