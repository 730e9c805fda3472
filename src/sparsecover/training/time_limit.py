"""Training that ends in a given time: how many steps fit, decided once a few have been timed."""

from sparsecover.training.state import Progress

_MEASURED_SHARE = 0.05  # of the time given, after which the number of steps is decided
_MEASURED_STEPS = 4
_RESERVE = 0.95  # of the time given; the rest is for files and for steps that take longer
_VALIDATION_SHARE = 1 / 3  # a validation batch is a forward pass: about a third of a training batch


def fitting_steps(progress: Progress, seconds: float, batches: int, validations: int, accumulate: int) -> int | None:
    """The number of steps that end within ``seconds``; None as long as too few have been timed.

    Args:
        progress: where the training stands, with the time it took so far.
        seconds: given in all.
        batches: of an epoch.
        validations: batches of a validation.
        accumulate: batches in a step.
    """
    if progress.step < _MEASURED_STEPS or progress.seconds < _MEASURED_SHARE * seconds:
        return None
    steps = -(-batches // accumulate)
    step_s = progress.seconds / progress.step
    epoch_s = steps * step_s + validations * step_s / accumulate * _VALIDATION_SHARE
    return progress.step + max(0, int((_RESERVE * seconds - progress.seconds) / epoch_s * steps))
