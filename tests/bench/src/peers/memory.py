"""What this process and all that it started hold in memory."""

import os
from pathlib import Path


def pss_bytes(process: int | None = None) -> int:
    """The sum of memory of their own, shared pages counted in part."""
    folder = Path("/proc") / str(process or os.getpid())
    try:
        rollup = (folder / "smaps_rollup").read_text().splitlines()
        started = {int(child) for task in (folder / "task").iterdir() for child in (task / "children").read_text().split()}
    except (FileNotFoundError, ProcessLookupError):
        # It has ended meanwhile: the JVM starts others for a moment.
        return 0
    own = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) * 1024
    return own + sum(pss_bytes(child) for child in started)
