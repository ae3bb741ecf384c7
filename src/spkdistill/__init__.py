"""Offline distillation of small speaker-verification models: Kaldi archives, PyTorch, Snakemake."""

__version__ = "0.1.0"
