"""Configuration: base < environment < --set, typed and validated; the only reader of settings and environment."""

from headrace.config.sections import (
    CassandraSettings,
    EnginesSettings,
    IngestSettings,
    KafkaSettings,
    KinesisSettings,
    PublishSettings,
    RedshiftSettings,
    ServeSettings,
    SparkSettings,
    StoreSettings,
)
from headrace.config.settings import Settings, load, redacted
from headrace.config.texts import text_of
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
    "KafkaSettings",
    "KinesisSettings",
    "PublishSettings",
    "RedshiftSettings",
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
    "text_of",
    "under_spark_submit",
]
