"""spark-submit jobs/refresh.py ARGUMENTS: the same as `headrace refresh ARGUMENTS`, on the cluster's own Spark."""

import sys

from headrace.cli import main

if __name__ == "__main__":
    main(["refresh", *sys.argv[1:]])
