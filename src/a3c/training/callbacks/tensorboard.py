"""TensorBoard's events: the same figures as `metrics.jsonl`.

Their records are framed here. tensorboardX has a writer with a thread, which dies of a full disk and then
blocks whoever flushes.
"""

import os
import socket
import struct
import time
from typing import Any

from a3c.training.callbacks.files import AppendOnlyFile, FileCallback
from a3c.training.run import Run

_PREFIX = "events.out.tfevents"
_GROUPS = {
    "return": ("moving_average", "mean_return_100", "best_evaluation"),
    "loss": ("loss", "policy_loss", "value_loss", "entropy", "gradient_norm"),
}


class TensorBoard(FileCallback):
    """Writes one file of events per process; a run that is resumed has several."""

    def __init__(self) -> None:
        super().__init__(_PREFIX)
        self._earlier: dict[str, int] = {}

    @property
    def state_key(self) -> str:
        return "tensorboard"

    def setup(self, run: Run) -> None:
        """Cut the files of earlier processes where the checkpoint says that they ended, and begin one."""
        self._earlier = dict(run.resumed.callbacks.get(self.state_key, {}))
        for stale in run.directory.glob(f"{_PREFIX}*"):
            if stale.name in self._earlier:
                AppendOnlyFile(stale, self._earlier[stale.name]).close()
            else:
                stale.unlink()
        self.name = f"{_PREFIX}.{int(time.time())}.{socket.gethostname()}.{os.getpid()}.{len(self._earlier)}"
        super().setup(run)

    def first_piece(self) -> bytes:
        return _record(_event(file_version="brain.Event:2"))

    def piece(self, run: Run, seconds: float) -> bytes:
        snapshot = run.metrics.snapshot(seconds)
        known = {k: v for k, v in snapshot.figures().items() if v is not None and k != "steps"}
        return b"".join(_record(_scalar(_tag(name), v, snapshot.steps)) for name, v in known.items())

    def state_dict(self) -> dict[str, int]:
        """Where each file ends, by its name."""
        return {**self._earlier, self.name: super().state_dict()["end"]}


def _event(**content: Any) -> bytes:
    """One of TensorBoard's events."""
    from tensorboardX.proto.event_pb2 import Event

    return Event(wall_time=time.time(), **content).SerializeToString()


def _scalar(tag: str, value: float, step: int) -> bytes:
    from tensorboardX.proto.summary_pb2 import Summary

    return _event(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=float(value))]))


def _record(content: bytes) -> bytes:
    """`content` as TensorBoard reads it from a file: with its length and checksums."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(content))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (length, content)]
    return b"".join((length, checksums[0], content, checksums[1]))


def _tag(name: str) -> str:
    """The name of a figure in TensorBoard, with its group before it."""
    group = next((g for g, names in _GROUPS.items() if name in names), "run")
    return f"{group}/{name}"
