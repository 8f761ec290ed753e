"""What can go wrong, one class each; the message says what to do."""


class ZooError(Exception):
    """Base of the errors below."""


class UnknownModelError(ZooError):
    """No checkpoint has this name."""


class CheckpointError(ZooError):
    """A checkpoint is incomplete, corrupt, or of a version this one cannot read."""


class DownloadError(ZooError):
    """A file could not be fetched."""


class IntegrityError(ZooError):
    """A file is not the one that was published."""


class SoundnessError(ZooError):
    """An attack broke a certificate: a bug in the certificate, never an acceptable result."""


class ClusterError(ZooError):
    """No cluster answered, or a task on it failed for good."""


class UnsupportedLayerError(ZooError, ValueError):
    """A layer of a Keras model has no sound bound; the message names those that have."""


class AuditError(ZooError):
    """A checkpoint folder does not agree with what the catalog says of it."""


class PublishError(ZooError):
    """The Hub refused a checkpoint, or there is no token."""
