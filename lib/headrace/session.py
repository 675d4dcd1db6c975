"""The only place that builds a SparkSession."""
