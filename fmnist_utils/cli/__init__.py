"""The command ``fmnist``."""
