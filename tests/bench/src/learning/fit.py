"""What tests/bench/src/learning/fit.rs does, with XGBoost's own Python package: FOLDER ROWS COLUMNS ROUNDS THREADS."""

import json
import sys
import time
from pathlib import Path

import numpy
import xgboost

folder = Path(sys.argv[1])
rows, columns, rounds, threads = map(int, sys.argv[2:])
features = numpy.fromfile(folder / "features.f32", dtype=numpy.float32).reshape(rows, columns)
labels = numpy.fromfile(folder / "labels.f32", dtype=numpy.float32)
parameters = {
    "objective": "reg:squarederror",
    "tree_method": "hist",
    "max_depth": 5,
    "eta": 0.1,
    "base_score": float(labels.mean(dtype=numpy.float64)),
    "nthread": threads,
    "seed": 42,
}

start = time.perf_counter()
matrix = xgboost.DMatrix(features, labels, nthread=threads)
booster = xgboost.train(parameters, matrix, num_boost_round=rounds)
seconds = time.perf_counter() - start

scored = rows // 10
errors = booster.inplace_predict(features[:scored]).astype(numpy.float64) - labels[:scored]
status = Path("/proc/self/status").read_text()
peak_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
print(
    json.dumps(
        {
            "seconds": seconds,
            "peak_bytes": peak_kib * 1024,
            "rmse": float(numpy.sqrt(numpy.mean(errors**2))),
            "xgboost": xgboost.__version__,
        }
    )
)
