"""Answers with Spark. Nothing of its settings is changed that has to do with reading: the vectorized reader is on."""

import json

from pyspark.sql import SparkSession

session = (
    SparkSession.builder.master("local[1]")
    .appName("candlewire-readers")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .getOrCreate()
)
session.sparkContext.setLogLevel("ERROR")
if session.conf.get("spark.sql.parquet.enableVectorizedReader") != "true":
    raise SystemExit("the vectorized reader is off, which is not Spark's default")


def show(question: str) -> None:
    print(json.dumps([row.asDict() for row in session.sql(question).collect()]))


ticks = session.read.parquet("ticks-*.parquet")
ticks.createOrReplaceTempView("ticks")
session.read.parquet("predictions.parquet").createOrReplaceTempView("predictions")
print(json.dumps([{"column_name": name, "column_type": kind} for name, kind in ticks.dtypes]))
show("""
    select coin, quote, count(*) as rows, unix_millis(min(event_ms)) as first, unix_millis(max(event_ms)) as last,
        count(grain_ms) as grains, max(grain_ms) as grain, count(complete_ms) as completes, max(complete_ms) as complete,
        count(id) as ids, max(id) as id, count(open) as opens, max(high) as high, min(low) as low, sum(close) as close,
        avg(close) as mean, max(volume) as volume, sum(market_seq) as market_seq, max(quote_volume) as quote_volume,
        count_if(filled) as filled
    from ticks group by coin, quote order by coin""")
show("""
    select fold, count(*) as rows, unix_millis(min(timestamp)) as first, unix_millis(max(timestamp)) as last,
        sum(prediction) as prediction, avg(close) as mean, min(lower) as lower, count(lower_80) as bands_80
    from predictions group by fold order by fold""")
session.stop()
