"""Offline distillation: what a teacher says about each view, and losses that make a student say it too."""
