"""`metrics.jsonl`: a row of figures now and then."""

import json
import time

from a3c.training.callbacks.files import FileCallback
from a3c.training.run import Run


class MetricsJsonl(FileCallback):
    """Writes one JSON object per line."""

    def __init__(self) -> None:
        super().__init__("metrics.jsonl")

    def piece(self, run: Run, seconds: float) -> bytes:
        figures = run.metrics.snapshot(seconds).figures()
        rounded = {k: round(v, 6) if isinstance(v, float) else v for k, v in figures.items()}
        return json.dumps({"time": round(time.time(), 3), **rounded}).encode() + b"\n"
