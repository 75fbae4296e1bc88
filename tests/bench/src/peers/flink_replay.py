"""The windows of all ticks as streams in Flink: FOLDER. Reads FOLDER/ticks.csv, writes CSV.

One file: it takes several in any order, and then drops what is late."""

import json
import os
import shutil
import sys
import time
from datetime import datetime
from pathlib import Path

# There are no Python functions in these queries: Flink shall not look for the packages that would run them.
os.environ["_python_worker_execution_mode"] = "process"

import windows
from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment

folder = Path(sys.argv[1])
out = Path.cwd() / "out"

settings = Configuration()
for name, value in {
    # One file and one instrument: a second subtask would only be handed over to.
    "parallelism.default": "1",
    # State and results are safe that often; without it nothing would be until the end.
    "execution.checkpointing.interval": "1s",
    "table.local-time-zone": "UTC",
}.items():
    settings.set_string(name, value)
environment = TableEnvironment.create(
    EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(settings).build()
)
environment.execute_sql(
    f"""
    CREATE TABLE ticks (
        timestamp_ms BIGINT, `open` DOUBLE, high DOUBLE, low DOUBLE, `close` DOUBLE, volume STRING,
        event AS TO_TIMESTAMP_LTZ(timestamp_ms, 3),
        WATERMARK FOR event AS event - INTERVAL '{windows.DELAY_MINUTES}' MINUTE
    ) WITH ('connector' = 'filesystem', 'format' = 'csv', 'path' = '{folder / "ticks.csv"}')
    """
)
for name in windows.WINDOWS:
    environment.execute_sql(
        f"""
        CREATE TABLE `{name}` (`start` TIMESTAMP(3), average DOUBLE, low DOUBLE, high DOUBLE)
        WITH ('connector' = 'filesystem', 'format' = 'csv', 'path' = '{out / name}')
        """
    )


def window(size: int, hop: int) -> str:
    minutes = [f"INTERVAL '{length}' MINUTE(4)" for length in (hop, size)]
    if size == hop:
        return f"TUMBLE(TABLE ticks, DESCRIPTOR(event), {minutes[0]})"
    return f"HOP(TABLE ticks, DESCRIPTOR(event), {minutes[0]}, {minutes[1]})"


def replay() -> float:
    """All tables in one job; returns seconds until it has stored everything."""
    shutil.rmtree(out, ignore_errors=True)
    statements = environment.create_statement_set()
    for name, (size, hop) in windows.WINDOWS.items():
        statements.add_insert_sql(
            f"""
            INSERT INTO `{name}`
            SELECT window_start, AVG(`close`), MIN(`close`), MAX(`close`)
            FROM TABLE({window(size, hop)})
            GROUP BY window_start, window_end
            """
        )
    begin = time.perf_counter()
    statements.execute().wait()
    return time.perf_counter() - begin


def rows():
    for name in windows.WINDOWS:
        for part in (path for path in (out / name).iterdir() if path.is_file()):
            for line in part.read_text().splitlines():
                start, average, low, high = line.split(",")
                start_ms = int(datetime.fromisoformat(f"{start.strip(chr(34))}+00:00").timestamp()) * 1000
                yield name, start_ms, float(average), float(low), float(high)


first_seconds = replay()
windows.write(folder, rows())
# Classes are loaded and code is compiled now.
again_seconds = replay()
print(json.dumps({"seconds": first_seconds, "again_seconds": again_seconds}))
