"""An agent's model as its user sees it, kept equal to the network that is trained."""

import keras
import numpy as np

from a3c.networks import OURS
from a3c.networks.export import copy_into, export, update
from a3c.networks.functional import Network
from a3c.networks.parameters import parameters_of, trainable_of


class WholeModel:
    """What `export` makes of an agent, made when it is first asked for, and equal to the agent from then on.

    Args:
        network: The agent's network, whose weights and statistics may change.
    """

    def __init__(self, network: Network):
        self._network, self._whole, self._known = network, None, np.zeros(0, np.float32)

    @property
    def model(self) -> keras.Model:
        """The whole, with the agent's present weights."""
        if self._whole is None:
            network = self._network
            self._whole = export(network.model, network.observations, network.normaliser)
        elif not np.array_equal(self._known, parameters_of(self._network.model)):
            update(self._whole, self._network.model, self._network.normaliser)
        self._known = parameters_of(self._network.model)
        self._seen = trainable_of(self._whole)
        return self._whole

    def take(self) -> None:
        """Bring weights that the user has given to the whole into the network."""
        if self._whole is None or type(self._network.model) not in OURS:  # whose layers are the user's own
            return
        if not np.array_equal(self._seen, trainable_of(self._whole)):
            copy_into(self._network.model, self._whole)
            self._known, self._seen = parameters_of(self._network.model), trainable_of(self._whole)
