"""The original program's recipe in Spark: FOLDER. Fits FOLDER/hours.csv and scores what was held out."""

import json
import sys
import time
from pathlib import Path

import session
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import GBTRegressor
from pyspark.sql import functions as F

folder = Path(sys.argv[1])
spark = session.start()


def learn() -> float:
    """Returns R2 on the held-out rows."""
    hours = spark.read.schema(session.TICKS).option("header", True).csv(str(folder / "hours.csv"))
    event = F.timestamp_millis("timestamp_ms")
    features = hours.select(
        event.cast("long").alias("timestamp"), F.hour(event).alias("hour"), F.dayofweek(event).alias("day"), "close"
    )
    columns = ["timestamp", "hour", "day"]
    rows = VectorAssembler(inputCols=columns, outputCol="features").transform(features).select("features", "close")
    train, holdout = rows.randomSplit([0.8, 0.2], seed=42)
    # Depth 5 and rate 0.1 are its defaults.
    model = GBTRegressor(labelCol="close", maxIter=100, seed=42).fit(train)
    return RegressionEvaluator(labelCol="close", metricName="r2").evaluate(model.transform(holdout))


begin = time.perf_counter()
r2 = learn()
seconds = time.perf_counter() - begin
print(json.dumps({"seconds": seconds, "r2": r2}))
