"""The only place that builds a SparkSession."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.config import Settings, spark_submit_flags, under_spark_submit
from headrace.local.jars import ensure_jars
from headrace.local.java import Java, find_java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ALWAYS = {
    # Instants are UTC everywhere; a definition's zone matters only where days are counted.
    "spark.sql.session.timeZone": "UTC",
    # Overflow and bad casts fail instead of turning into null.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # Python workers exchange Arrow; a batch stays well below a task's memory.
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}
_LOCAL = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    # Delta spreads its own log over 50 tasks by default, which costs seconds on two cores.
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.ui.retainedExecutions": "1",
    "spark.ui.showConsoleProgress": "false",
    "spark.python.daemon.module": "headrace.python_workers",
}


def open_session(
    settings: Settings, app: str, jars: Sequence[str] = ("delta",), extra: Mapping[str, str] | None = None
) -> SparkSession:
    """The running SparkSession, or a new one.

    Under spark-submit, or where settings.spark.master is empty, spark-submit decides master, memory and jars.
    jars: groups of jars.toml that the session needs. extra: further Spark settings.
    """
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        return running
    spark, given = settings.spark, spark_submit_flags()
    options = dict(_ALWAYS)
    if spark.shuffle_partitions:
        options["spark.sql.shuffle.partitions"] = str(spark.shuffle_partitions)
        options["spark.default.parallelism"] = str(spark.shuffle_partitions)
    if spark.master and not under_spark_submit():
        options |= {"spark.master": spark.master, "spark.driver.memory": spark.driver_memory or "1g", **_LOCAL}
        options["spark.sql.warehouse.dir"] = str(settings.home / "spark-warehouse")
        _prepare_process(settings, options, ensure_jars(jars, settings.cache))
    builder = SparkSession.builder.appName(app)
    for key, value in {**options, **(extra or {})}.items():
        builder = builder.config(key, value)
    try:
        return builder.getOrCreate()
    finally:
        # Flags that name a class archive are for this JVM alone, not for those of processes started from here.
        os.environ["SPARK_SUBMIT_OPTS"] = given


def _prepare_process(settings: Settings, options: dict[str, str], jars: list[Path]) -> None:
    """Point this process at the right Java, Python and jars before the first JVM starts."""
    java = find_java(settings.cache)
    os.environ["JAVA_HOME"] = str(java.home)
    # Workers must run this interpreter, not the first python3 on the PATH.
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    classpath = os.pathsep.join(str(jar) for jar in jars)
    if settings.spark.master.startswith("local-cluster"):
        options["spark.jars"] = ",".join(str(jar) for jar in jars)
    else:
        # On the class path rather than in spark.jars, so that the shared class archive covers them.
        options["spark.driver.extraClassPath"] = classpath
    flags = [_logging_flag(settings.cache), *settings.spark.jvm_flags.split()]
    if settings.spark.class_data_sharing:
        flags += _class_data_sharing(settings.cache, java, classpath)
    os.environ["SPARK_SUBMIT_OPTS"] = " ".join([*flags, spark_submit_flags()]).strip()


def _logging_flag(cache: Path) -> str:
    text = resources.files("headrace").joinpath("log4j2.properties").read_text("utf-8")
    # A copy, since the package may be inside a zip; named by content, since versions may share a cache.
    target = cache / f"log4j2-{hashlib.sha256(text.encode()).hexdigest()[:12]}.properties"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}")
        part.write_text(text, "utf-8")
        part.replace(target)
    return f"-Dlog4j2.configurationFile={target.as_uri()}"


def _class_data_sharing(cache: Path, java: Java, classpath: str) -> list[str]:
    """JVM flags that map the classes of an earlier session, or record them when there was none.

    The archive of one Java and one class path is written as the first JVM exits and taken up by a later
    session once its writer is gone. A Java without a base archive gets no flags.
    """
    if not java.shares_classes:
        return []
    import psutil
    import pyspark

    key = hashlib.sha256(f"{java.home}|{java.version}|{pyspark.__version__}|{classpath}".encode()).hexdigest()[:16]
    folder = cache / "class-data"
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{key}.jsa"
    if not archive.exists():
        for finished in folder.glob(f"{key}.*.new"):
            writer = int(finished.name.split(".")[1])
            if not psutil.pid_exists(writer) and not _is_being_written(finished):
                finished.replace(archive)
                break
    if archive.exists():
        return [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
    return [f"-XX:ArchiveClassesAtExit={folder / f'{key}.{os.getpid()}.new'}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]


def _is_being_written(file: Path) -> bool:
    """Whether a JVM that outlived its driver still has the archive open."""
    import psutil

    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "java":
            try:
                if any(str(file) in part for part in process.cmdline()):
                    return True
            except psutil.Error:
                continue
    return False
