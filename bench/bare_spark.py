"""What a data engineer writes without a platform, in one script: read the CSV, RFM, quintiles, k-means, write."""

import sys

from headrace import config
from headrace.local.jars import ensure_jars
from headrace.local.java import find_java

if __name__ == "__main__":
    import os

    settings = config.load([])
    os.environ["JAVA_HOME"] = str(find_java(settings.cache).home)
    from pyspark.ml import Pipeline
    from pyspark.ml.clustering import KMeans
    from pyspark.ml.feature import MinMaxScaler, VectorAssembler
    from pyspark.sql import SparkSession, Window
    from pyspark.sql import functions as F

    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", "2g")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.jars", ",".join(str(jar) for jar in ensure_jars(["delta"], settings.cache)))
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.databricks.delta.snapshotPartitions", "2")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    source, target = sys.argv[1:3]
    lines = spark.read.csv(source, header=True, inferSchema=False, escape='"')
    lines.write.format("delta").save(f"{target}/events")
    events = (
        spark.read.format("delta")
        .load(f"{target}/events")
        .dropna()
        .withColumn("at", F.to_timestamp("InvoiceDate", "M/d/yyyy H:mm"))
        .withColumn("total", F.col("Quantity").cast("int") * F.col("UnitPrice").cast("double"))
    )
    rfm = (
        events.groupBy("CustomerID")
        .agg(
            F.datediff(F.lit("2011-12-09").cast("date"), F.max("at").cast("date")).alias("recency"),
            F.countDistinct("InvoiceNo").alias("frequency"),
            F.sum("total").alias("monetary"),
        )
        .cache()
    )
    scored = (
        rfm.withColumn("r", F.lit(6) - F.ntile(5).over(Window.orderBy("recency")))
        .withColumn("f", F.ntile(5).over(Window.orderBy("frequency", "CustomerID")))
        .withColumn("m", F.ntile(5).over(Window.orderBy("monetary")))
    )
    columns = ["recency", "frequency", "monetary"]
    pipeline = Pipeline(
        stages=[
            VectorAssembler(inputCols=columns, outputCol="raw"),
            MinMaxScaler(inputCol="raw", outputCol="scaled"),
            KMeans(k=6, seed=7, featuresCol="scaled", predictionCol="cluster"),
        ]
    ).fit(rfm)
    pipeline.write().save(f"{target}/model")
    done = pipeline.transform(scored).drop("raw", "scaled")
    done.write.parquet(f"{target}/customers")
    assert spark.read.parquet(f"{target}/customers").count() == 4372
    spark.stop()
