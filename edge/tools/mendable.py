"""The errors that say what a user can mend."""

from __future__ import annotations

from edge.settings_file import ConfigError


def mendable() -> tuple[type[Exception], ...]:
    """The errors that say what to mend; imported when there is one, so that a service starts without them."""
    from core.bank import BankError
    from core.database import DatabaseError
    from core.evaluate.compare import EvaluationFileError, IncomparableError
    from core.evaluate.datasets import DatasetError
    from core.graph import BatchTooLargeError
    from core.image import ImageError
    from core.packs import PackError
    from core.vision import UnsupportedModelError
    from core.weights import ModelError
    from edge.camera.child import CameraError
    from edge.control.client import NoAnswerError, RefusedError
    from edge.control.server import ConsoleError
    from edge.ops.lock import LockError
    from edge.storage.archive import ArchiveError
    from edge.storage.backup import BackupError
    from edge.tools.broker import BrokerError
    from edge.tools.first_run import FirstRunError

    setup = (ConfigError, PackError, ModelError, UnsupportedModelError, BatchTooLargeError, CameraError)
    data = (DatasetError, EvaluationFileError, IncomparableError, FileNotFoundError, FirstRunError, ImageError)
    running = (
        ArchiveError,
        BackupError,
        BrokerError,
        BankError,
        DatabaseError,
        ConsoleError,
        LockError,
        NoAnswerError,
        RefusedError,
    )
    return (*setup, *data, *running)
