"""The errors that say what a user can mend."""

from __future__ import annotations

import sys

from edge.settings_file import ConfigError

_ERRORS = {
    "core.arguments": ("DetectorError",),
    "core.bank.memory_bank": ("BankError",),
    "core.database.error": ("DatabaseError",),
    "core.evaluate.compare": ("EvaluationFileError", "IncomparableError"),
    "core.evaluate.datasets.sample": ("DatasetError",),
    "core.filo.training.trainer": ("CheckpointError",),
    "core.graph": ("BatchTooLargeError",),
    "core.identity": ("OtherIdentityError",),
    "core.image": ("ImageError",),
    "core.model_error": ("ModelError", "NotFiniteError"),
    "core.packs.content": ("PackError",),
    "core.tiles": ("TilingError",),
    "core.vision": ("UnsupportedModelError",),
    "edge.camera.child": ("CameraError",),
    "edge.camera.errors": ("SourceError",),
    "edge.control.client": ("NoAnswerError", "RefusedError"),
    "edge.inspection.region": ("RegionError",),
    "edge.control.relayed_socket": ("ConsoleError",),
    "edge.hmi.passwords": ("PasswordError",),
    "edge.hmi.users": ("UsersError",),
    "edge.ops.lock": ("LockError",),
    "edge.storage.backup": ("BackupError",),
    "edge.storage.retention": ("ArchiveError",),
    "edge.tools.broker": ("BrokerError",),
    "edge.storage.feedback": ("NoFeedbackError",),
    "edge.tools.first_run": ("FirstRunError",),
    "edge.tools.quality": ("LabelledSetError",),
}
"""By the module that defines them."""


def mendable() -> tuple[type[Exception], ...]:
    """The errors that say what to mend. Those of a module that nobody has imported cannot have been raised, and to
    import it for them may take seconds.
    """
    modules = ((sys.modules.get(module), names) for module, names in _ERRORS.items())
    found = [getattr(module, name) for module, names in modules if module is not None for name in names]
    return (ConfigError, FileNotFoundError, *found)
