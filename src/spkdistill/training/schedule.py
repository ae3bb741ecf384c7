"""The learning rate as a pure function of the step."""


def learning_rate(step: int, steps: int, warmup_steps: int, peak: float, final: float) -> float:
    """The rate of step `step` (from 0) of `steps`: linear up to `peak`, then exponential down to `final`.

    The last step of the warm-up has `peak`, the last step of all has `final`.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    decay_steps = steps - max(warmup_steps, 1)
    if decay_steps <= 0:
        return peak
    return peak * (final / peak) ** ((step + 1 - max(warmup_steps, 1)) / decay_steps)
