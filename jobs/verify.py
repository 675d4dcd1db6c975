"""spark-submit jobs/verify.py ARGUMENTS: the same as `headrace verify ARGUMENTS`, on the cluster's own Spark."""

import sys

from headrace.cli import main

if __name__ == "__main__":
    main(["verify", *sys.argv[1:]])
