"""The Spark session of all measurements: two cores, as many partitions, nothing that only people look at."""

from pathlib import Path

from pyspark.sql import SparkSession

# What `producer` reads; the last column is empty for spot ticks.
TICKS = "timestamp_ms LONG, open DOUBLE, high DOUBLE, low DOUBLE, close DOUBLE, volume DOUBLE"


def start() -> SparkSession:
    """Returns when the session has done its first job: starting is not measured."""
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(Path("spark").resolve()),
        "spark.sql.warehouse.dir": str(Path("warehouse").resolve()),
        "spark.sql.session.timeZone": "UTC",
        # Its default of 200 is for clusters: with two cores it takes several times as long.
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master("local[2]").appName("candlewire-peer")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    session.range(1).count()
    return session
