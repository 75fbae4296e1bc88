"""Answers with pandas, on files that `fastparquet` or `pyarrow` reads at default settings: the only argument."""

import json
import sys
from pathlib import Path

import pandas as pd


def read(path: Path) -> pd.DataFrame:
    if sys.argv[1] == "fastparquet":
        # pandas' own way to it is deprecated.
        from fastparquet import ParquetFile

        return ParquetFile(str(path)).to_pandas()
    return pd.read_parquet(path)


def millis(times: pd.Series) -> pd.Series:
    # fastparquet knows that times are UTC, and does not say so.
    return pd.to_datetime(times, utc=True).astype("datetime64[ms, UTC]").astype("int64")


def plain(value):
    return None if pd.isna(value) else value.item() if hasattr(value, "item") else value


def show(groups: pd.DataFrame) -> None:
    rows = groups.reset_index().to_dict("records")
    print(json.dumps([{name: plain(value) for name, value in row.items()} for row in rows]))


ticks = pd.concat([read(path) for path in sorted(Path().glob("ticks-*.parquet"))])
predictions = read(Path("predictions.parquet"))
# By default pandas makes floating-point numbers of whole ones with nulls.
whole = dict.fromkeys(["grain_ms", "complete_ms", "id"], "Int64")
ticks = ticks.astype({"coin": str, "quote": str} | whole).assign(ms=millis(ticks["event_ms"]))
show(
    ticks.groupby(["coin", "quote"]).agg(
        rows=("ms", "size"),
        first=("ms", "min"),
        last=("ms", "max"),
        grains=("grain_ms", "count"),
        grain=("grain_ms", "max"),
        completes=("complete_ms", "count"),
        complete=("complete_ms", "max"),
        ids=("id", "count"),
        id=("id", "max"),
        opens=("open", "count"),
        high=("high", "max"),
        low=("low", "min"),
        close=("close", "sum"),
        mean=("close", "mean"),
        volume=("volume", "max"),
        market_seq=("market_seq", "sum"),
        quote_volume=("quote_volume", "max"),
        filled=("filled", "sum"),
    )
)
predictions = predictions.astype({"fold": str}).assign(ms=millis(predictions["timestamp"]))
show(
    predictions.groupby("fold").agg(
        rows=("ms", "size"),
        first=("ms", "min"),
        last=("ms", "max"),
        prediction=("prediction", "sum"),
        mean=("close", "mean"),
        lower=("lower", "min"),
        bands_80=("lower_80", "count"),
    )
)
