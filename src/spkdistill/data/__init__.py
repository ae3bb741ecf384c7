"""Corpora as Kaldi data directories: read, validated, prepared."""
