"""The windows of all ticks as streams in Spark: FOLDER. Reads the files of FOLDER/ticks/, writes Parquet.

A file a micro-batch stores results as often as we do. Fewer and larger micro-batches take less time, down to one for all
files, which is measured too: then nothing is stored before the end, and it is no stream any more."""

import json
import shutil
import sys
import time
from pathlib import Path

import memory
import session
import windows
from pyspark.sql import functions as F

folder = Path(sys.argv[1])
spark = session.start()
out = Path.cwd() / "out"


def closed_windows(name: str, files_max: int | None):
    """The final rows of one of the windows."""
    size, hop = windows.WINDOWS[name]
    source = spark.readStream.schema(session.TICKS).format("csv")
    if files_max is not None:
        source = source.option("maxFilesPerTrigger", files_max)
    ticks = source.load(str(folder / "ticks")).withColumn("event", F.timestamp_millis("timestamp_ms"))
    window = F.window("event", f"{size} minutes", f"{hop} minutes")
    grouped = ticks.withWatermark("event", f"{windows.DELAY_MINUTES} minutes").groupBy(window)
    made = grouped.agg(F.avg("close").alias("average"), F.min("close").alias("low"), F.max("close").alias("high"))
    return made.select(F.unix_millis("window.start").alias("start_ms"), "average", "low", "high")


def write(name: str, rows):
    sink = rows.writeStream.outputMode("append").format("parquet").trigger(availableNow=True)
    return sink.option("checkpointLocation", str(out / "checkpoints" / name)).start(str(out / name))


def replay(files_max: int | None) -> float:
    """Three queries side by side, one for each table; returns seconds until all have stored everything."""
    shutil.rmtree(out, ignore_errors=True)
    begin = time.perf_counter()
    queries = [write(name, closed_windows(name, files_max)) for name in windows.WINDOWS]
    for query in queries:
        query.awaitTermination()
    return time.perf_counter() - begin


first_seconds = replay(1)
memory_bytes = memory.pss_bytes()
windows.write(
    folder,
    (
        (name, row.start_ms, row.average, row.low, row.high)
        for name in windows.WINDOWS
        for row in spark.read.parquet(str(out / name)).collect()
    ),
)
# Classes are loaded and code is compiled now.
again_seconds = replay(1)
one_batch_seconds = replay(None)
print(
    json.dumps(
        {
            "seconds": first_seconds,
            "again_seconds": again_seconds,
            "one_batch_seconds": one_batch_seconds,
            "memory_bytes": memory_bytes,
        }
    )
)
