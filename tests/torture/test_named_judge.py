"""What the campaign `named` judges by, on trial with hand-written evidence."""

import pytest

from tests.torture.named import judge


@pytest.mark.parametrize(
    ("shown", "wrong"),
    [
        (["edited 0", "menu 1", "edited 1"], 0),
        (["edited 0", "edited 1", "menu 1"], 1),
        (["edited 0", "menu 1"], 1),
        (["edited 0", "edited 1", "edited 1"], 1),
        (["edited 1"], 1),
    ],
)
def test_only_the_last_copy_of_each_round_is_edited(shown, wrong):
    assert len(judge(shown, 1)) == wrong
