"""The parent process of Spark's Python workers in local sessions, which takes pyspark from the installed package.

Spark puts its zips, and a jar, in front of every worker's path, and every task clears Python's import caches. Python
then reads the directories of those archives anew, once for each package that came out of them: 0.3 s a task.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

_ARCHIVES = ("pyspark.zip", "-src.zip", ".jar")


def without_archives(path: Sequence[str]) -> list[str]:
    """The entries that are not Spark's own archives.

    >>> without_archives(["/x", "/spark/python/lib/pyspark.zip", "/spark/jars/spark-core_2.13-4.1.1.jar"])
    ['/x']
    """
    return [entry for entry in path if not entry.endswith(_ARCHIVES)]


if __name__ == "__main__":
    given = list(sys.path)
    sys.path[:] = without_archives(given)
    sys.path_importer_cache.clear()
    if find_spec("pyspark") is None:
        sys.path[:] = given
    from pyspark.daemon import manager

    manager()  # type: ignore[no-untyped-call]
