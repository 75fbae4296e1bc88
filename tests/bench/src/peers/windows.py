"""What every peer makes of the ticks: the three windows, and the file in which it hands them over to be compared."""

from pathlib import Path

# Name, size and hop in minutes.
WINDOWS = {"hourly": (60, 60), "daily": (1440, 1440), "moving-average": (60, 30)}
# A tick may be this much older than the newest one.
DELAY_MINUTES = 10


def write(folder: Path, rows) -> None:
    """Rows of (name, first millisecond, average, low, high), in any order."""
    with (folder / "windows.csv").open("w") as file:
        file.write("window,start_ms,average,low,high\n")
        for name, start_ms, average, low, high in rows:
            file.write(f"{name},{start_ms},{average!r},{low!r},{high!r}\n")
