"""The answers over HTTP, with a page."""
