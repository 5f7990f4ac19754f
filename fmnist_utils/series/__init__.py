"""Run the series, read the test set, publish what comes out."""
