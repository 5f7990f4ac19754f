"""The answers over HTTP: a FastAPI application around the predictor, with a page."""
