"""The artefact store: the result of a stage lives in a folder named by the hash of all that determines it.

::

    <root>/<stage>/<key>/manifest.json     the record: config, inputs, versions, seed, metrics, sha256 of every file
                        /manifest.sha256   its own; artefacts made before gpot wrote it have none
                        /...               the files themselves (safetensors, npy, json); nothing is pickled
    <root>/../work/<stage>/<key>/          checkpoints of a training that has not finished

The key is a hash of the stage, its version, its resolved sub-config, the keys of what it read and the hash of its data
(`content_key`). Device, workers, logger and paths change how a result is made and not what it is: they stay out. An
artefact is built in a temporary folder under a file lock and then renamed: a folder with its final name is complete.
"""

from gpot.store.artifact import Artifact, save_array
from gpot.store.folders import Store
from gpot.store.keys import content_key, file_sha256
from gpot.store.manifest import MANIFEST, MANIFEST_HASH, commit

__all__ = ["MANIFEST", "MANIFEST_HASH", "Artifact", "Store", "commit", "content_key", "file_sha256", "save_array"]
