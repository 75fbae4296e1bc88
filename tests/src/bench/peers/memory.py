"""What this process and all that it started hold in memory."""

import os
from pathlib import Path


def pss_bytes(process: int | None = None) -> int:
    """The sum of memory of their own, shared pages counted in part."""
    process = process or os.getpid()
    folder = Path("/proc") / str(process)
    rollup = (folder / "smaps_rollup").read_text().splitlines()
    own = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) * 1024
    started = {int(child) for task in (folder / "task").iterdir() for child in (task / "children").read_text().split()}
    return own + sum(pss_bytes(child) for child in started)
