import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fmnist_utils import data
from fmnist_utils.photos import clothing_dataset
from fmnist_utils.series import photo_report

ALONE, HELPED = photo_report.SYSTEMS


def answers(rows):
    """Return a table of answers from (folder, system, by folder, by judgement, known)."""
    return pd.DataFrame(
        {
            "path": f"{folder}/{i // 2}.jpg",
            "folder": folder,
            "system": system,
            "answer": "Shirt",
            "by_folder": by_folder,
            "by_judgement": by_judgement,
            "known": known,
            "open": by_judgement,
        }
        for i, (folder, system, by_folder, by_judgement, known) in enumerate(rows)
    )


MADE = answers(
    [
        ("dress", ALONE, False, False, True),
        ("dress", HELPED, True, False, True),
        ("shoes", ALONE, True, True, True),
        ("shoes", HELPED, True, False, False),
        ("shoes", ALONE, False, False, False),
        ("shoes", HELPED, True, True, True),
        ("hat", ALONE, None, None, True),
        ("hat", HELPED, None, None, False),
    ]
)


def test_shares_are_of_those_that_have_an_answer():
    table = photo_report.table(MADE).set_index(["photos of", "system"])
    ten = table.loc["**the ten classes**"]
    assert ten.loc[ALONE, "right by folder"].startswith("1 of 3: 0.33 (")
    assert ten.loc[HELPED, "right by folder"].startswith("3 of 3: 1.00 (")
    assert ten.loc[HELPED, "right by judgement"].startswith("1 of 3")
    assert ten.loc[HELPED, "accepted"].startswith("2 of 3")
    assert ten.loc[HELPED, "by judgement"].startswith("1 of 2")
    others = table.loc["**none of the ten**"]
    assert others.loc[ALONE, "right by folder"] == "–"
    assert others.loc[ALONE, "accepted"].startswith("1 of 1")
    assert others.loc[HELPED, "accepted"].startswith("0 of 1")


def test_the_systems_are_compared_photo_by_photo():
    told = photo_report.paired(MADE)
    assert told["by_folder"].startswith("2 become right and 0 wrong, p = 0.5")
    assert told["by_judgement"].startswith("1 become right and 1 wrong, p = 1")
    report = photo_report.text(MADE)
    assert "- dress/0.jpg: Shirt" in report
    assert "- shoes/1.jpg: Shirt" in report
    assert "hat/" not in report


@pytest.mark.parametrize("label", [0, 5, 8])
def test_a_photo_is_asked_about_once_and_answered_twice(label, tmp_path, monkeypatch):
    images, labels = data.sketches(40, seed=3)
    cloth = np.kron(images[labels == label][0], np.ones((6, 6), np.uint8))[..., None]
    photo = np.full((240, 200, 3), (150, 110, 70), np.uint8)
    photo[36:204, 16:184] = np.where(cloth > 20, 255 - cloth, photo[36:204, 16:184])
    (tmp_path / "dress").mkdir()
    Image.fromarray(photo).save(tmp_path / "dress" / "one.png")
    taken = [
        clothing_dataset.Photograph(tmp_path / "dress" / "one.png", "dress", frozenset({label}))
    ]
    monkeypatch.setattr(photo_report.clothing_dataset, "load", lambda _: taken)
    told = photo_report.ask()
    assert list(told["system"]) == [ALONE, HELPED]
    assert set(told["path"]) == {"dress/one.png"}
    for row in told.itertuples():
        assert row.by_folder == (row.answer == "Dress")
        assert row.by_judgement == (photo_report.CLASS_NAMES.index(row.answer) == label)
