"""The page in a real browser: Debian's Chromium, which .ci/run installs."""

import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None and "CI" not in os.environ:
    pytest.skip("no Chromium: apt-get install chromium", allow_module_level=True)


def _png():
    photo = np.full((300, 200, 3), 235, np.uint8)
    photo[60:240, 60:140] = 50
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    return buffer.getvalue()


PHOTO = {"name": "coat.png", "mimeType": "image/png", "buffer": _png()}
BROKEN = {"name": "broken.png", "mimeType": "image/png", "buffer": _png()[:200]}


@pytest.fixture
def browser():
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_a_photo_is_answered_and_explained_by_keyboard_on_a_phone(process, browser):
    with process() as (_, port):
        page = browser.new_page(viewport={"width": 360, "height": 700})
        addresses, complaints = [], []
        page.on("request", lambda request: addresses.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"http://127.0.0.1:{port}/")
        page.locator("input[type=file]").set_input_files(PHOTO)
        page.wait_for_selector("#result:not([hidden])")
        answer = page.locator("#answer").inner_text()
        assert page.get_by_role("status").inner_text() == f"Answer: {answer}"
        assert page.locator("#classes tr").count() == 5
        assert page.locator("#steps img").count() == 4
        first, second = page.locator("#choices button").all_inner_texts()[:2]
        # Not wait_for_function: it polls with eval, which the page's own security policy forbids.
        expect(page.locator("#explained")).to_have_js_property("naturalWidth", 280)
        assert page.locator("#explained-class").inner_text() == first
        page.locator("#choices button").nth(0).focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#explained-class")).to_have_text(second)
        assert page.locator("#explained").get_attribute("alt").endswith(second)
        # No training images here: their section stays away, and nothing moves sideways.
        assert page.locator("#similar-section").is_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.locator("input[type=file]").set_input_files(BROKEN)
        page.wait_for_selector("#error:not([hidden])")
        assert "damaged" in page.get_by_role("alert").inner_text()
        assert page.locator("#result").is_hidden()
        assert complaints == []
        own = (f"http://127.0.0.1:{port}/", "data:", f"blob:http://127.0.0.1:{port}/")
        assert [address for address in addresses if not address.startswith(own)] == []
