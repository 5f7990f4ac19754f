"""What good clients send, and what attackers send: built here, byte by byte where it must be."""

import io
import struct

import numpy as np
from PIL import Image

FORM, JSON, PHOTO = "multipart/form-data; boundary=b", "application/json", "image/png"
GET = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


def request(path, kind, body, *, length=None):
    """Return a whole POST request, or one that promises more than it holds."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n"
    return f"{head}content-length: {length or len(body)}\r\n\r\n".encode() + body


def photo():
    """Return a garment on a bright table, as a phone takes it: 12 megapixels in JPEG."""
    pixels = np.random.default_rng(0).integers(215, 225, (3_000, 4_000, 3), np.uint8)
    pixels[600:2_400, 1_400:2_600] = (40, 60, 120)
    return _encoded(pixels, "JPEG")


def image():
    """Return an image of the data set's size."""
    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:24, 9:19] = 160
    return _encoded(pixels, "PNG")


def noise_form(n_photos=32):
    """Return a form of photos that no compression makes small, 28 KB each."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    part = b'--b\r\ncontent-disposition: form-data; name="f"; filename="f.png"\r\n\r\n'
    return n_photos * (part + _encoded(noise, "PNG") + b"\r\n") + b"--b--\r\n"


def false_boundaries(n_bytes=18_900_000):
    """Return a form that begins a boundary again and again and never means it."""
    part = b'--b\r\ncontent-disposition: form-data; name="f"; filename="f"\r\n\r\n'
    false = b"\r\n--b\rX"
    return part + false * (n_bytes // len(false)) + b"\r\n--b--\r\n"


def webp(width=7_000, height=7_000):
    """Return 36 bytes that are an image of 49 megapixels, all of them alike.

    Each of lossless WebP's five codes has one symbol, so that a pixel takes no bit.
    """
    bits = "000" + 5 * "1000"  # no transform, no cache, no further codes; then five codes
    stream = int(bits[::-1], 2).to_bytes(11, "little")
    size = (width - 1) | (height - 1) << 14
    content = b"\x2f" + struct.pack("<I", size) + stream
    chunk = b"VP8L" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def jpeg(n_scans, width=7_000, height=7_000):
    """Return a grey JPEG of 49 megapixels that says the same again in each of its scans.

    A scan says that 16,384 blocks on end have nothing more, in 15 bits that are 0.
    """
    blocks = -(-width // 8) * -(-height // 8)
    one_code = bytes([1]) + bytes(15)  # one symbol, whose code is the bit 0
    parts = [
        b"\xff\xd8",
        _segment(0xDB, bytes([0]) + bytes([1]) * 64),
        _segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"),
        _segment(0xC4, b"\x00" + one_code + b"\x00"),  # no difference to the block before
        _segment(0xC4, b"\x10" + one_code + b"\xe0"),  # an end of 16,384 blocks
        _segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes(-(-blocks // 8)),
    ]
    run = bytes(-(-15 * -(-blocks // 16_384) // 8))
    parts += (n_scans - 1) * [_segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + run]
    return b"".join(parts) + b"\xff\xd9"


def deep_json(depth=400_000):
    """Return arrays within arrays."""
    return b'{"images": ' + depth * b"[" + depth * b"]" + b"}"


def _segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(content)) + content


def _encoded(pixels, kind):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()
