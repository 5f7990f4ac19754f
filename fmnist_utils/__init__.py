"""The package behind the notebooks; this is its map, CONTRIBUTING.md says how to add to it.

The course stands flat, and lessons import it. Each module imports from those above it only:

- `classes`, `errors`, `paths`, `hardware`, `arrays`, `files`, `typed_fields`: what all need
- `data`: splits, downloads, readers of other people's files, sketches that stand in for data
- `recipes`: what is trained; `profiles`: how much; `layers`, `optimizers`, `models`, `augment`;
  `layer_graph`: a network's layers one by one; `arithmetic`, `operations`: in which precision
- `evaluation`, `calibration`, `explain`, `duplicates`: measures of answers, networks and images
- `plots`: every figure; `results`: what was measured, in ``results.json``
- `training`: one training, and its `checkpoints`; `store`: runs, each trained once
- `similarity`: search by embedding; `export`: ONNX and LiteRT; `session`: a lesson's set-up

Four wings stand on it; no module of the course imports one:

- `photos`: from a photo to 28x28 pixels to an answer, without TensorFlow
- `service`: the same answers over HTTP, ``fmnist serve``
- `series`: runs and publishes the notebooks, reads the test set, makes the packaged model
- `cli`: the command ``fmnist``

Importing it is cheap: the modules that need TensorFlow load it, silently by `tensorflow_quiet`.
"""

__version__ = "0.1.0"
