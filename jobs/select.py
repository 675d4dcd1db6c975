"""spark-submit jobs/select.py ARGUMENTS: the same as `headrace select ARGUMENTS`, on the cluster's own Spark."""

import sys

from headrace.cli import main

if __name__ == "__main__":
    main(["select", *sys.argv[1:]])
