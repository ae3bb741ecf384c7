"""Metrics of scored trials: EER, minDCF, DET curves, and intervals from resampled speakers."""
