"""The windows of all ticks in one batch: FOLDER. No stream and nothing kept: a floor."""

import json
import sys
import time
from pathlib import Path

import polars
import windows
from polars import col

folder = Path(sys.argv[1])


def replay() -> dict[str, polars.DataFrame]:
    read = polars.scan_csv(folder / "bitcoin.csv").select(
        col("timestamp_ms").cast(polars.Datetime("ms")).alias("event"), col("close")
    )
    ticks = read.collect().set_sorted("event")
    made = {}
    for name, (size, hop) in windows.WINDOWS.items():
        grouped = ticks.group_by_dynamic("event", every=f"{hop}m", period=f"{size}m")
        close = col("close")
        made[name] = grouped.agg(average=close.mean(), low=close.min(), high=close.max())
    return made


begin = time.perf_counter()
made = replay()
seconds = time.perf_counter() - begin

windows.write(
    folder,
    (
        (name, *row)
        for name, table in made.items()
        for row in table.with_columns(col("event").dt.epoch("ms")).iter_rows()
    ),
)
print(json.dumps({"seconds": seconds}))
