"""From a photo to an answer; needs no TensorFlow."""

MAX_PIXELS = 50_000_000  # of a photo, width times height; a larger one is not decoded
