"""nbval's settings for the notebooks."""

import pytest


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Leave stderr out of the comparison: native libraries log there as the machine has it."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
