"""What a data engineer writes without a platform to predict the `sales` records: read, score, gzip CSV, RMSE."""

import json
import sys

from headrace import config
from headrace.local.java import find_java

if __name__ == "__main__":
    import os

    os.environ["JAVA_HOME"] = str(find_java(config.load([]).cache).home)
    from pyspark.ml import PipelineModel
    from pyspark.ml.evaluation import RegressionEvaluator
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F

    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", "2g")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    source, model, target = sys.argv[1:4]
    rows = spark.read.parquet(source)
    first = rows.count() * 7 // 10
    price = F.ln("price_per_ticket")
    records = (
        rows.coalesce(1)
        .withColumn("row", F.monotonically_increasing_id())
        .where(F.col("row") >= first)
        .withColumn("price_log", price)
        .withColumn("tickets_by_price", F.col("num_tickets") * price)
        .withColumn("seats_log", F.log1p(F.coalesce("venue_seats", F.lit(0)).cast("double")))
        .withColumn("is_weekend", F.coalesce(F.trim("weekday").isin("FR", "SA", "SU").cast("int"), F.lit(0)))
        .withColumn("is_holiday", F.coalesce(F.col("holiday").cast("int"), F.lit(0)))
    )
    told = PipelineModel.load(model).transform(records).select("totalsold", "prediction").cache()
    labelled = told.select(F.col("totalsold").cast("double").alias("label"), "prediction")
    rmse = RegressionEvaluator(metricName="rmse").evaluate(labelled)
    told.write.csv(target, header=True, compression="gzip")
    print(json.dumps({"records_seen": told.count(), "rmse": rmse}))
    spark.stop()
