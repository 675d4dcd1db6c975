"""spark-submit jobs/publish.py ARGUMENTS: the same as `headrace publish ARGUMENTS`, on the cluster's own Spark."""

import sys

from headrace.cli import main

if __name__ == "__main__":
    main(["publish", *sys.argv[1:]])
