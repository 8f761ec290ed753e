"""The exceptions that zoo raises; each message says what to do about the error."""


class ZooError(Exception):
    """Base class of the errors below."""


class UnknownModelError(ZooError):
    """The catalog has no checkpoint of this name."""


class CheckpointError(ZooError):
    """A checkpoint is incomplete, corrupt, or in a format that this version of zoo cannot read."""


class DownloadError(ZooError):
    """A file could not be fetched."""


class IntegrityError(ZooError):
    """A file differs in size or sha256 from the file that was published."""


class SoundnessError(ZooError):
    """An attack changed a prediction within its certified radius: the certificate has a bug."""


class ClusterError(ZooError):
    """No Ray cluster answered, or a task on the cluster failed in spite of all retries."""


class UnsupportedLayerError(ZooError, ValueError):
    """A layer of a Keras model has no sound bound; the message names the supported layers."""


class AuditError(ZooError):
    """A checkpoint folder does not agree with its entry in the catalog."""


class PublishError(ZooError):
    """The Hugging Face Hub refused a checkpoint, or no access token was found."""
