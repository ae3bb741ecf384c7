"""The same random numbers for each test, alone or after others."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seed() -> None:
    """Seed torch."""
    torch.manual_seed(0)
