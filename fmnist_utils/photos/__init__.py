"""From a photo to an answer; needs no TensorFlow."""

EXPLANATIONS = ("grad_cam", "grad_cam_plus_plus", "integrated_gradients", "occlusion")
MAX_PIXELS = 50_000_000  # of a photo, width times height; a larger one is not decoded
