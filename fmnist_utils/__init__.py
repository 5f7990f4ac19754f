"""The package behind a numbered series of notebooks on classifying Fashion-MNIST.

Importing it is cheap: TensorFlow is loaded by the modules that train (`fmnist_utils.models`,
`fmnist_utils.training`), not here.
"""

__version__ = "0.1.0"
