"""Configuration: base < environment < --set, typed and validated; the only reader of settings and environment."""

from headrace.config.settings import (
    CassandraSettings,
    EnginesSettings,
    IngestSettings,
    PublishSettings,
    ServeSettings,
    Settings,
    SparkSettings,
    StoreSettings,
    load,
    redacted,
)
from headrace.config.variables import (
    data_folder,
    is_set,
    java_home,
    maven_repository,
    secret,
    spark_submit_flags,
    under_spark_submit,
)

__all__ = [
    "CassandraSettings",
    "EnginesSettings",
    "IngestSettings",
    "PublishSettings",
    "ServeSettings",
    "Settings",
    "SparkSettings",
    "StoreSettings",
    "data_folder",
    "is_set",
    "java_home",
    "load",
    "maven_repository",
    "redacted",
    "secret",
    "spark_submit_flags",
    "under_spark_submit",
]
