"""Which records are those of a user or a chat; what the stores do with them: tests/stores/test_records.py."""

import pytest

from telegram.service.personal import owner_of

THEIRS = [
    ("chat:42", "42"), ("chat:42", "~chat"), ("user:42", "~user_data"), ("chat:-5", "42"), ("chat:-5", "42/7"),
    ("chat:-5", "~user:42"), ("payment:42", "42"), ("join_request:-5:42", "42"), ("business:xy:42", ""), ("guest:42", ""),
]  # fmt: skip
OTHERS = [
    ("chat:421", "421"), ("chat:7", "7"), ("chat:-42", "7"), ("chat:-5", "7"), ("chat:-5", "~chat"), ("bot", "~bot_data"),
    ("chat:-5", "7/42"), ("poll:42", "7"), ("inline:42", ""), ("business:42:7", ""), ("update:42", ""), ("chat:-5", "~topic:42"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "scope"), THEIRS)
def test_what_belongs_to_a_user(key: str, scope: str):
    assert owner_of(42).owns(key, scope)


@pytest.mark.parametrize(("key", "scope"), OTHERS)
def test_what_does_not(key: str, scope: str):
    assert not owner_of(42).owns(key, scope)


def test_what_belongs_to_a_group():
    owner = owner_of(-42)
    assert owner.owns("chat:-42", "7")
    assert owner.owns("post:-42", "")
    assert owner.owns("join_request:-42:7", "7")
    assert not owner.owns("chat:42", "42")
    assert not owner.owns("chat:-421", "7")
