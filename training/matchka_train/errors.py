"""Errors of the offline line, each with the offending value and the remedy; no service caller meets them."""

from matchka.errors import MatchkaError


class RecipeError(MatchkaError):
    """A recipe that cannot be read, has an unknown key, or a value out of range."""


class DatasetError(MatchkaError):
    """A data set that is not laid out as its recipe says, or cannot be trained or validated on."""


class OptionError(MatchkaError):
    """An option of the command line that what a recipe asks for does not take."""


class FileChangedError(DatasetError):
    """A file that was overwritten between two readings of one run."""


class IdentityOverlapError(MatchkaError):
    """The same identity or the same file is trained on and validated on."""


class DuplicateSampleError(MatchkaError):
    """One recording or picture counts as several samples, or as several people."""


class LookalikeError(MatchkaError):
    """Identities of training and of validation that are likely to be one person under two names."""


class TooManyUnreadableError(MatchkaError):
    """More clips than a stray few could not be read."""


class FeatureError(MatchkaError):
    """Features of the wrong kind or width for what takes them."""


class EncoderAbsentError(FeatureError):
    """An encoder of a package that is no dependency, and is not installed."""


class WeightsError(MatchkaError):
    """A weights file that cannot be read safely, or is no checkpoint of the network it was given for."""


class DiskFullError(MatchkaError):
    """No space left for features or checkpoints."""


class TrackingError(MatchkaError):
    """A tracking server that the environment names, and that does not answer when a fit begins."""


class WorkerLostError(MatchkaError):
    """A process of several that work together ended before its work did."""


class MainModuleError(MatchkaError):
    """A script that starts processes while it is imported by one of them."""


class DeviceError(MatchkaError):
    """A GPU that is not there, or has not the memory that is needed."""


class NoTrialsError(MatchkaError):
    """Similarities on which no error rate can be measured."""


class NoThresholdError(MatchkaError):
    """Similarities of impostors that no threshold holds to the rate that is asked for."""


class ProjectionError(MatchkaError):
    """A projection file that is not one, or does not fit the backbone."""


class HeadError(MatchkaError):
    """A head that its encoders do not fit, or a file that holds none."""


class DivergedError(MatchkaError):
    """The loss became NaN or infinite."""


class CheckpointError(MatchkaError):
    """A checkpoint folder that is not one, or belongs to another recipe."""


class BackboneFileError(MatchkaError):
    """A file that does not say, or not in a known way, what a backbone made of it would take."""


class UnknownWeightsError(MatchkaError):
    """Published weights of a name that is not in the catalogue."""


class CatalogueError(MatchkaError):
    """A catalogue of weights that cannot be read."""


class WeightsAbsentError(MatchkaError):
    """Published weights that have to be pulled first; nothing is downloaded without being asked for."""


class LicenceError(MatchkaError):
    """A licence that was not accepted, so that nothing was downloaded."""


class WeightsFileError(MatchkaError):
    """A file of weights that holds code, or is of another kind than its name says."""


# --- building bundles -----------------------------------------------------------------------------------------------
class DownloadError(MatchkaError):
    """A package file could not be fetched through pip."""


class ChecksumError(MatchkaError):
    """A fetched file, or a member of one, is not the one that is pinned."""
