"""What the fork server imports once, so that each worker starts with it: imported for its effect only.

Imports alone: no array is made and no framework's runtime is started, since a process forked from a
running one would hang.
"""

from a3c.utils.lazy_imports import import_keras

import_keras(plotting=False)

import a3c.engines.processes  # noqa: E402, F401
