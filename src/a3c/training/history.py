"""What `Agent.fit` returns."""

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a3c.training.trainer import Result


@dataclasses.dataclass(frozen=True)
class History:
    """What `Agent.fit` returns, in the manner of Keras.

    Attributes:
        history: One list per measure, an entry per training episode (of a long run every k-th): `return`,
            `length`, `steps` (taken by all workers until then), `seconds`, `moving_average`,
            `mean_return_100`.
        params: Every setting of the run, with everything decided, and as tables where its environment, model
            and optimizer come from. What a model or an optimizer of your own replaces is left out.
        summary: What the run came to, in the keys of `a3c train --json`.
    """

    history: dict[str, list]
    params: dict[str, Any]
    summary: dict[str, Any]

    @classmethod
    def of(cls, result: "Result") -> "History":
        """That of a run with this `training.trainer.Result`."""
        from a3c.training.metrics import EPISODE_COLUMNS

        rows = result.metrics.history.rows
        columns = {name: [row[i] for row in rows] for i, name in enumerate(EPISODE_COLUMNS)}
        return cls(columns, result.params, result.summary)
