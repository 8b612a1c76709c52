from telegram.fake.world.people import Chat, Person


def message(message_id):
    return {"message_id": message_id}


def test_shapes():
    assert Person(5, "Ann").user() == {"id": 5, "is_bot": False, "first_name": "Ann"}
    assert Chat(5, "Ann").chat() == {"id": 5, "type": "private", "first_name": "Ann"}
    assert Chat(-1005, "Us", {5}).chat() == {"id": -1005, "type": "supergroup", "title": "Us"}


def test_history_is_bounded_and_an_edit_keeps_its_place():
    chat = Chat(5, "Ann")
    for n in (1, 2, 3):
        chat.keep(message(n), 2)
    chat.keep({"message_id": 2, "text": "edited"}, 2)
    assert chat.messages() == [{"message_id": 2, "text": "edited"}, message(3)]
    assert chat.find(1) is None
    assert chat.find(3) == message(3)


def test_without_history_nothing_is_kept():
    chat = Chat(5, "Ann")
    chat.keep(message(1), 0)
    assert chat.messages() == []
    assert chat.find(1) is None


def test_forget():
    chat = Chat(5, "Ann")
    assert not chat.forget(1)
    chat.keep(message(1), 5)
    assert chat.forget(1)
    assert not chat.forget(1)


def test_deleted_and_future_messages_are_gone_but_old_ones_may_exist():
    chat = Chat(5, "Ann")
    for _ in range(4):
        chat.keep(message(chat.take_message_id()), 3)
    chat.forget(3)
    assert [chat.is_missing(n) for n in (0, 1, 2, 3, 4, 5)] == [True, False, False, True, False, True]


def test_the_only_message_is_gone_when_it_is_deleted():
    chat = Chat(5, "Ann")
    chat.keep(message(chat.take_message_id()), 3)
    chat.forget(1)
    assert chat.is_missing(1)


def test_without_history_nothing_counts_as_gone():
    chat = Chat(5, "Ann")
    chat.keep(message(chat.take_message_id()), 0)
    assert not chat.is_missing(1)
    assert chat.is_missing(2)
