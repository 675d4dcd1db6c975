"""spark-submit jobs/train.py ARGUMENTS: the same as `headrace train ARGUMENTS`, on the cluster's own Spark."""

import sys

from headrace.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
