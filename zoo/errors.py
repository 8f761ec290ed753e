"""The exceptions that zoo raises; each message says what to do about the error."""


class ZooError(Exception):
    """Base class of the errors below."""


class UnknownModelError(ZooError):
    """The catalog has no checkpoint of this name."""


class CheckpointError(ZooError):
    """A checkpoint is incomplete, corrupt, or in a format that this version of zoo cannot read."""


class DownloadError(ZooError):
    """A file could not be fetched, or a model of the catalog was never published."""


class IntegrityError(ZooError):
    """A file is missing, or differs in size or sha256 from the file that was published."""


class SoundnessError(ZooError):
    """A certificate is wrong: this is a bug.

    An attack changed a prediction within its certified radius, or the logits of a network are
    outside of their bounds. The bug may be in a rule of your own.
    """


class ClusterError(ZooError):
    """No Ray cluster answered, or a task on the cluster failed in spite of all retries."""


class UnsupportedLayerError(ZooError, ValueError):
    """A layer has no sound bound, or a method that a certificate relies on was replaced.

    The message names the layer or the class; :func:`zoo.bounds.supported` lists the layers that
    have bounds.
    """


class AuditError(ZooError):
    """A checkpoint failed the audit before its publication."""


class PublishError(ZooError):
    """A checkpoint could not be published: the message says whether the Hub or the catalog refused.

    It is also raised if no access token was found.
    """
