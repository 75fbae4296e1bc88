"""How soon Spark hands on a tick: _ TICKS RATE. Each tick is a file of its own, as the original program wrote them."""

import json
import sys
import time
from pathlib import Path

import session

ticks, rate = map(int, sys.argv[2:])
spark = session.start()
incoming, hidden = Path("incoming").resolve(), Path("hidden").resolve()
incoming.mkdir()
hidden.mkdir()

# By the number of the tick: when its file appeared, and when it came out.
dropped: dict[int, float] = {}
received: dict[int, float] = {}


def drop(number: int) -> None:
    line = f'{{"number":{number},"timestamp_ms":{time.time_ns() // 1_000_000},"price":30000.0}}\n'
    written = hidden / f"{number:06}.json"
    written.write_text(line)
    dropped[number] = time.perf_counter()
    # A reader sees it whole or not at all.
    written.rename(incoming / written.name)


def drop_paced(numbers: range) -> None:
    begin = time.perf_counter()
    for idx, number in enumerate(numbers):
        time.sleep(max(0.0, begin + idx / rate - time.perf_counter()))
        drop(number)


def take(batch, _) -> None:
    numbers = [row.number for row in batch.collect()]
    now = time.perf_counter()
    received.update(dict.fromkeys(numbers, now))


def until_received(last: int) -> None:
    deadline = time.monotonic() + 120
    while last not in received:
        if query.exception():
            raise query.exception()
        if time.monotonic() > deadline:
            raise TimeoutError(f"tick {last} did not come out")
        time.sleep(0.05)


source = spark.readStream.schema("number LONG, timestamp_ms LONG, price DOUBLE").json(str(incoming))
# No trigger interval: the next batch starts when the last one is done.
query = source.writeStream.foreachBatch(take).option("checkpointLocation", "checkpoint").start()

# The first ticks pay for what is loaded and compiled once: they do not count.
warm = 5 * rate
drop_paced(range(warm))
until_received(warm - 1)
drop_paced(range(warm, warm + ticks))
until_received(warm + ticks - 1)
query.stop()

missing = [number for number in range(warm, warm + ticks) if number not in received]
if missing:
    raise RuntimeError(f"{len(missing)} ticks did not come out")
print(json.dumps({"latencies": [received[number] - dropped[number] for number in range(warm, warm + ticks)]}))
