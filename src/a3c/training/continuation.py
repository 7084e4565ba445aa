"""Where a training stood, so that the next `fit` goes on from there: an agent keeps it, also in its file."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from a3c.config import Config
from a3c.errors import UsageError
from a3c.training import checkpoint
from a3c.utils.files import replacing


@dataclasses.dataclass(frozen=True)
class Continuation:
    """The last checkpoint of a training.

    Attributes:
        content: The bytes of its file.
        config: The settings of that training, with everything decided; its limits are those of one `fit`.
        steps: Environment steps that the limits of the next one are added to: those until then, but no more
            than the training was to make. So two halves are as long as the whole.
        episodes: Likewise.
        weights: Those that the agent had after it, [P] float32: with other ones, it does not go on from here.
    """

    content: bytes
    config: Config
    steps: int
    episodes: int
    weights: np.ndarray

    @classmethod
    def of(
        cls,
        config: Config,
        summary: dict[str, Any],
        weights: np.ndarray,
        before: "Continuation | None" = None,
    ) -> "Continuation | None":
        """That of a run which has ended; None where its last checkpoint is not there.

        Args:
            config: Its settings, with everything decided.
            summary: What it came to.
            weights: Those that the agent has now.
            before: Where it has begun.
        """
        folder = Path(summary["run_dir"]) / checkpoint.FOLDER
        path = next(iter(checkpoint.Files(folder, 1)), None)
        if path is None or checkpoint.newest_steps(folder) != summary["steps"]:
            return None
        try:
            content = path.read_bytes()
        except OSError:
            return None
        counts = {
            name: min(
                summary[name], summary[name] if (limit := getattr(config, f"max_{name}")) is None else limit
            )
            for name in ("steps", "episodes")
        }
        if before is not None:
            config = before._counted_from_here(config, -1)
        return cls(content, config, **counts, weights=weights)

    def config_with(self, settings: dict[str, Any]) -> Config:
        """The settings of a training that goes on, with changes; its limits count from here."""
        return self._counted_from_here(self.config.replace(**settings), 1)

    def _counted_from_here(self, config: Config, sign: int) -> Config:
        """Limits with what was there before, or without."""
        limits = {
            name: None if (limit := getattr(config, name)) is None else limit + sign * until
            for name, until in (("max_steps", self.steps), ("max_episodes", self.episodes))
        }
        return dataclasses.replace(config, **limits)

    def put_into(self, directory: Path) -> None:
        """Make the checkpoint that of a new run.

        Raises:
            UsageError: if it cannot be written.
        """
        path = directory / checkpoint.FOLDER / f"step-{self.steps:012d}.zip"
        try:
            path.parent.mkdir()
            with replacing(path) as temporary:
                temporary.write_bytes(self.content)
        except OSError as error:
            raise UsageError(f"run directory {directory}", "one that can be written", f"{error}.") from error
