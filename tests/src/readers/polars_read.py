"""Answers with Polars at default settings."""

import json

import polars as pl

c = pl.col
ticks, predictions = pl.read_parquet("ticks-*.parquet"), pl.read_parquet("predictions.parquet")
print(json.dumps([{"column_name": name, "column_type": str(kind)} for name, kind in ticks.schema.items()]))
of_ticks = ticks.group_by("coin", "quote").agg(
    rows=pl.len(),
    first=c("event_ms").min().dt.epoch("ms"),
    last=c("event_ms").max().dt.epoch("ms"),
    grains=c("grain_ms").count(),
    grain=c("grain_ms").max(),
    completes=c("complete_ms").count(),
    complete=c("complete_ms").max(),
    ids=c("id").count(),
    id=c("id").max(),
    opens=c("open").count(),
    high=c("high").max(),
    low=c("low").min(),
    close=c("close").sum(),
    mean=c("close").mean(),
    volume=c("volume").max(),
    market_seq=c("market_seq").sum(),
    quote_volume=c("quote_volume").max(),
    filled=c("filled").sum(),
)
print(json.dumps(of_ticks.sort(c("coin").cast(pl.String)).to_dicts()))
of_predictions = predictions.group_by("fold").agg(
    rows=pl.len(),
    first=c("timestamp").min().dt.epoch("ms"),
    last=c("timestamp").max().dt.epoch("ms"),
    prediction=c("prediction").sum(),
    mean=c("close").mean(),
    lower=c("lower").min(),
    bands_80=c("lower_80").count(),
)
print(json.dumps(of_predictions.sort("fold").to_dicts()))
