"""From any photo to a 28x28 image."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fmnist_utils import data
from fmnist_utils.errors import BadInputError
from fmnist_utils.photos import prepare


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _scene(
    height: int = 300, width: int = 200, background: int = 220, garment: int = 60
) -> NDArray[np.uint8]:
    """Return a noisy photo of a rectangle, 120 x 60 pixels, that lies off the centre."""
    noise = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    scene = np.full((height, width, 3), background, np.float64)
    scene[100:220, 90:150] = garment
    return (scene + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture
def upright() -> Image.Image:
    """A picture whose quarters differ: 40 x 20 pixels."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:10, :20], pixels[:10, 20:], pixels[10:, :20] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("kind", prepare.FORMATS)
def test_every_format_gives_the_same_photo(upright: Image.Image, kind: str) -> None:
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    photo = prepare.read(_encoded(upright, kind, **options.get(kind, {})))
    np.testing.assert_allclose(photo.rgb.astype(int), np.asarray(upright), atol=6)
    assert photo.opaque.all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_as_the_camera_was_held(upright: Image.Image, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = prepare.read(_encoded(stored, "PNG", exif=exif))
    np.testing.assert_array_equal(photo.rgb, upright)


def test_colours_of_every_kind(upright: Image.Image) -> None:
    cmyk = prepare.read(_encoded(upright.convert("CMYK"), "JPEG", quality=100))
    np.testing.assert_allclose(cmyk.rgb.astype(int), np.asarray(upright), atol=30)
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for image in (Image.fromarray(grey), Image.fromarray(grey.astype(np.uint16) * 257)):
        np.testing.assert_array_equal(prepare.read(_encoded(image, "PNG")).rgb[..., 1], grey)
    palette = prepare.read(_encoded(upright.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"))
    np.testing.assert_allclose(palette.rgb.astype(int), np.asarray(upright), atol=6)


def test_of_a_moving_picture_the_first_frame(upright: Image.Image) -> None:
    others = [Image.new("RGB", upright.size, "white")] * 3
    photo = prepare.read(_encoded(upright, "GIF", save_all=True, append_images=others))
    np.testing.assert_allclose(photo.rgb.astype(int), np.asarray(upright), atol=6)


def test_transparency_tells_the_garment() -> None:
    rgba = np.zeros((60, 60, 4), np.uint8)
    rgba[10:50, 20:40] = (90, 90, 90, 255)
    prepared = prepare.to_image(prepare.read(_encoded(Image.fromarray(rgba), "PNG")))
    assert prepared.garment.shape == (40, 20)
    assert (prepared.garment == 255 - 90).all()
    assert (prepared.image[:, 7:21] > 0).all()
    assert (prepared.image[:, :7] == 0).all()


@pytest.mark.parametrize("background", [230, 10])
def test_the_garment_is_found_trimmed_and_centred(background: int) -> None:
    photo = prepare.Photo(_scene(background=background, garment=120), np.ones((300, 200), bool))
    prepared = prepare.to_image(photo)
    height, width = prepared.garment.shape
    assert height / width == pytest.approx(2, rel=0.1)
    columns = np.flatnonzero(prepared.image.any(axis=0))
    assert prepared.image.any(axis=1).all()
    assert abs(columns[0] - (27 - columns[-1])) <= 1
    assert np.median(prepared.image[prepared.image > 0]) == pytest.approx(255 - 120, abs=10)


def test_what_is_prepared_already_is_left_as_it_is() -> None:
    for image in data.sketches(10, seed=0).images:
        prepared = prepare.to_image(prepare.read(_encoded(Image.fromarray(image), "PNG")))
        np.testing.assert_array_equal(prepared.image, image)


def test_a_white_garment_is_no_background() -> None:
    rgba = np.full((40, 40, 4), 255, np.uint8)
    rgba[:10, :, 3] = 0
    prepared = prepare.to_image(prepare.read(_encoded(Image.fromarray(rgba), "PNG")))
    assert (prepared.garment == 1).all()


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    value=st.integers(0, 255),
    seed=st.integers(0, 9),
)
def test_any_photo_gives_an_image(height: int, width: int, value: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rgb = rng.integers(max(0, value - 30), value + 1, (height, width, 3)).astype(np.uint8)
    prepared = prepare.to_image(prepare.Photo(rgb, rng.random((height, width)) > seed / 10))
    assert prepared.image.shape == (28, 28)
    assert prepared.image.dtype == np.uint8
    assert prepared.image.any() or (height, width) == (28, 28)


# Sketches that fill their image, as the data set's garments do.
LARGE = [x for x in data.sketches(300, seed=0).images if max(np.ptp(np.argwhere(x), axis=0)) >= 25]
# Ways by which an image of the data set comes as a file; and how far its pixels may move.
DRAWN = {
    "as it is": (lambda image: _encoded(Image.fromarray(image), "PNG"), 0),
    "one pixel coloured": (lambda image: _encoded(_touched(image), "PNG"), 255),
    "one pixel transparent": (lambda image: _encoded(_touched(image, alpha=True), "PNG"), 0),
    "JPEG": (lambda image: _encoded(Image.fromarray(image).convert("RGB"), "JPEG"), 60),
    "WebP": (lambda image: _encoded(Image.fromarray(image), "WEBP", quality=90), 60),
    "doubled": (lambda image: _encoded(_enlarged(image, 56, 0), "PNG"), 0),
    "ten times": (lambda image: _encoded(_enlarged(image, 280, 0), "BMP"), 0),
    "smoothly to 64": (lambda image: _encoded(_enlarged(image, 64, 3), "PNG"), 120),
}


def _touched(image: NDArray[np.uint8], *, alpha: bool = False) -> Image.Image:
    rgba = np.dstack([image] * 3 + [np.full_like(image, 255)])
    rgba[0, 0] = [*rgba[0, 0, :3], 0] if alpha else [90, 100, 110, 255]
    return Image.fromarray(rgba)


def _enlarged(image: NDArray[np.uint8], side: int, filter_: int) -> Image.Image:
    return Image.fromarray(image).resize((side, side), Image.Resampling(filter_))


@pytest.mark.parametrize("way", DRAWN)
@pytest.mark.parametrize("polarity", ["bright on black", "dark on white"])
@given(image=st.sampled_from(LARGE))
def test_an_image_of_the_data_set_is_known_in_any_wrapping(
    way: str, polarity: str, image: NDArray[np.uint8]
) -> None:
    encode, most = DRAWN[way]
    stored = 255 - image if polarity == "dark on white" else image
    prepared = prepare.to_image(prepare.read(encode(stored)))
    moved = np.abs(prepared.image.astype(int) - image)
    assert moved.max() <= most
    assert moved.mean() < 8
    assert prepared.mask.shape == prepared.photo.shape[:2]


def test_a_bright_garment_on_a_black_ground_is_not_negated() -> None:
    scene = np.zeros((300, 200), np.uint8)
    scene[60:240, 60:140] = 230
    image = prepare.to_image(prepare.read(_encoded(Image.fromarray(scene), "PNG"))).image
    assert image.max() > 200
    padded = np.pad(data.sketches(1, seed=0).images[0], 2)
    found = prepare.to_image(prepare.read(_encoded(Image.fromarray(padded), "PNG"))).image
    assert found.max() > 100


def test_a_photo_on_a_white_wall_goes_its_own_way() -> None:
    grey = np.repeat(_scene(background=250)[..., :1], 3, axis=-1)
    cut = prepare.to_image(prepare.Photo(grey, np.ones(grey.shape[:2], bool)))
    assert cut.image[0].any()
    assert cut.image[-1].any()  # cropped to the garment, which it fills


def test_specks_go_and_an_empty_mask_is_the_whole() -> None:
    mask = np.zeros((100, 100), bool)
    mask[20:60, 20:60] = mask[80:85, 80:85] = True
    assert prepare.largest_parts(mask).sum() == 40 * 40
    assert prepare.largest_parts(np.zeros((50, 50), bool)).all()


SMALL_JPEG = _encoded(Image.fromarray(_scene()), "JPEG")


@given(cut=st.integers(0, len(SMALL_JPEG)), place=st.integers(0, 600), value=st.integers(0, 255))
def test_whatever_is_uploaded_is_read_or_refused(cut: int, place: int, value: int) -> None:
    altered = bytearray(SMALL_JPEG[:cut])
    if place < len(altered):
        altered[place] = value
    try:
        photo = prepare.read(bytes(altered))
    except BadInputError:
        return
    assert photo.rgb.ndim == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: save it anew"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "need one of JPEG, PNG, WEBP, GIF"),
        (_encoded(Image.new("RGB", (9, 9)), "PPM"), "is no image of a known format"),
        (SMALL_JPEG[:2_000], r"is damaged \(.*\): save it anew"),
        (SMALL_JPEG[:-2] + b"\xff\xda" * 100, "is a JPEG of 101 scans: at most 100"),
        (_encoded(Image.new("1", (20_001, 1)), "PNG"), "has 20,001 x 1 pixels: at most"),
        (_encoded(Image.new("1", (8_000, 8_000)), "PNG"), "8,000 x 8,000 pixels: at most 50,000,0"),
        (_encoded(Image.new("1", (19_999, 19_999)), "PNG"), "at most 50,000,000"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message) as error:
        prepare.read(content)
    assert str(error.value).startswith(("The upload is", "The upload has"))
    assert str(error.value).count("The upload") == 1
    path = tmp_path / "photo"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=f"^{path}"):
        prepare.read(path)


@pytest.mark.parametrize(
    ("kind", "options", "held"),
    [
        ("PNG", {}, 1_200 * 2_000),
        ("JPEG", {}, 600 * 1_000),
        ("JPEG", {"progressive": True}, 600 * 1_000 + 1_200 * 2_000 // 3),
    ],
)
def test_what_decoding_holds_is_known_from_the_header(
    kind: str, options: dict[str, Any], held: int
) -> None:
    content = _encoded(Image.new("RGB", (1_200, 2_000)), kind, **options)
    assert prepare.held_pixels(content) == held
    with pytest.raises(BadInputError, match="1,200 x 2,000 pixels: at most"):
        prepare.read(content, max_pixels=held - 1)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_large_photo_is_one_image_however_it_is_stored(mode: str) -> None:
    small = Image.fromarray(_scene()).resize((480, 720))
    large = small.resize((1_920, 2_880), Image.Resampling.NEAREST)
    images = [
        prepare.to_image(prepare.read(_encoded(photo.convert(mode), "PNG"))).image
        for photo in (small, large)
    ]
    np.testing.assert_array_equal(*images)


def test_16_bits_are_turned_upright_as_8_are() -> None:
    grey = np.arange(96, dtype=np.uint8).reshape(12, 8)
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    eight, sixteen = (_encoded(i, "PNG", exif=exif) for i in (Image.fromarray(grey), wide))
    assert prepare.read(sixteen).rgb.shape == (8, 12, 3)
    np.testing.assert_array_equal(prepare.read(sixteen).rgb, prepare.read(eight).rgb)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"none\.jpg cannot be read: No such file"):
        prepare.read(tmp_path / "none.jpg")
