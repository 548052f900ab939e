"""Everything that can go wrong for a reason that the user can mend.

::

    LSTMADError                the root: anything the user can mend
    |-- SettingError           the container was started with unusable settings
    |-- HyperparameterError    the hyperparameters of a job cannot be used
    |-- SeriesError            a time series cannot be used
    |-- LaunchError            a process of those that train together failed
    |-- TrainingError          training started, but cannot give a usable model
    `-- ArtifactError          a model folder cannot be written or loaded

A message is one sentence and answers, in this order: what is wrong, where (the
hyperparameter, or the file, row and column), what was found, what is accepted.
The same sentence reaches the failure reason of a training job, the body of an HTTP
answer and the log. Rows and columns are counted from 1, as in a spreadsheet.
"""


class LSTMADError(Exception):
    """Raised for anything that the user can mend; the message says how."""


class SettingError(LSTMADError):
    """Raised if files or variables of the platform are missing or malformed."""


class HyperparameterError(LSTMADError):
    """Raised if hyperparameters are unknown, of the wrong type or out of bounds."""


class SeriesError(LSTMADError):
    """Raised if a time series is malformed, too short or of the wrong width."""


class LaunchError(LSTMADError):
    """Raised if one of the processes that train together failed."""


class TrainingError(LSTMADError):
    """Raised if training cannot end with a usable model."""


class ArtifactError(LSTMADError):
    """Raised if a model folder is missing, damaged or of another format version."""
