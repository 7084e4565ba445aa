"""Callbacks: a logger that prints JSON, and a stop rule of one's own.

python callbacks.py
"""

import json

from a3c import Agent, Callback


class PrintJson(Callback):
    """Prints the figures of the run as one line of JSON, every `seconds` of training."""

    def __init__(self, seconds=0.5):
        self.seconds, self.next = seconds, 0.0

    def on_tick(self, run, seconds):
        """Print, if it is time."""
        if seconds >= self.next:
            self.next = seconds + self.seconds
            print(json.dumps(run.metrics.snapshot(seconds).figures()))

    def on_train_end(self, run):
        """Print what the run came to."""
        print(json.dumps(run.summary()))


class StopAt(Callback):
    """Ends the run when an evaluation comes to `mean`."""

    def __init__(self, mean):
        self.mean = mean

    def on_evaluation_end(self, run, outcome, is_best):
        """Stop, if this one does."""
        if outcome.mean >= self.mean:
            run.message(f"{outcome.mean:.1f} is enough", level="note")
            run.stop(f"an evaluation of at least {self.mean}")


if __name__ == "__main__":
    agent = Agent("CartPole-v1", engine="serial", seed=1)
    agent.fit(verbose=0, callbacks=[PrintJson(), StopAt(100.0)])
