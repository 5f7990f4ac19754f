"""The service under each attack, for seconds; ``make attack`` takes longer."""

import io
import sys

import attacks
import harness
import payloads
import pytest
import report
from PIL import Image

# Whatever else the machine does at the time: that the service answers, not how soon; a few may be
# answered 503 when the deadline is over.
GENEROUS = {"/healthz": 3_000, "28x28": 3_000, "photo": 9_000, "peak": 700, "lost": 3}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has 127.0.0.2 and its neighbours")
@pytest.mark.parametrize("name", sorted({*attacks.ATTACKS} - {"none"}))
def test_good_clients_are_answered_and_no_connection_is_overdue(name):
    row = harness.measure(name, seconds=2.5, deadline=2)
    assert not report.broken(row, GENEROUS), row


@pytest.mark.parametrize("make", [payloads.webp, lambda *size: payloads.jpeg(3, *size)])
def test_small_files_are_large_photos(make):
    opened = Image.open(io.BytesIO(make(120, 90)))
    opened.load()
    assert opened.size == (120, 90)
    assert len(make(7_000, 7_000)) < 100_000
    assert Image.open(io.BytesIO(make(7_000, 7_000))).size == (7_000, 7_000)


def test_a_table_replaces_the_one_between_its_marks(tmp_path):
    document = tmp_path / "document.md"
    document.write_text(f"before\n{report.BEGIN}old\n{report.END}\nafter\n", encoding="utf-8")
    report.written(document, "new\n")
    expected = f"before\n{report.BEGIN}new\n{report.END}\nafter\n"
    assert document.read_text(encoding="utf-8") == expected
    document.write_text("no marks", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"lacks the marks .* put them back"):
        report.written(document, "new\n")
