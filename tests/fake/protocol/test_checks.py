import pytest

from telegram.fake.protocol.answers import ApiError
from telegram.fake.protocol.checks import check
from telegram.fake.protocol.params import Upload

SEND = {"chat_id": 5, "text": "hi"}
PART = Upload("a.jpg", b"jpg", "image/jpeg")


def refusal(method, params, *, strict=False):
    with pytest.raises(ApiError) as caught:
        check(method, params, strict=strict)
    assert caught.value.code == 400
    return caught.value.description.removeprefix("Bad Request: ")


@pytest.mark.parametrize(
    "more",
    [
        {"message_thread_id": "7", "disable_notification": "True", "protect_content": "yes"},
        {"message_thread_id": 7, "disable_notification": True, "protect_content": "0"},
        {"message_thread_id": "", "reply_markup": "", "parse_mode": ""},
        {"chat_id": "@channel", "text": ""},
        {"reply_markup": '{"inline_keyboard":[[{"text":"a","callback_data":"x"}]]}'},
        {"reply_markup": {"keyboard": [["a", {"text": "b"}]]}},
        {"reply_markup": {"remove_keyboard": True}},
        {"entities": [{"type": "bold", "offset": 0, "length": 1}]},
        {"reply_parameters": {"message_id": 1, "chat_id": "@other", "quote": None}},
    ],
)
def test_right_in_both_modes(more):
    check("sendMessage", SEND | more)
    check("sendMessage", SEND | more, strict=True)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("sendMessage", SEND | {"disable_web_page_preview": True}),
        ("sendMessage", SEND | {"text": 5}),
        ("sendMessage", SEND | {"entities": "nonsense"}),
        ("sendMessage", SEND | {"link_preview_options": {"colour": 1}}),
        ("setMyDefaultAdministratorRights", {"rights": {"can_manage_chat": True}}),
        ("sendMessage", SEND | {"reply_parameters": {"message_id": "1"}}),
    ],
)
def test_what_real_clients_send_is_refused_in_strict_mode_only(method, params):
    check(method, params)
    if params["text" if method == "sendMessage" else "rights"] != 5:
        assert refusal(method, params, strict=True)


@pytest.mark.parametrize(
    ("method", "params", "reason"),
    [
        ("sendMessage", {"chat_id": 5}, "message text is empty"),
        ("sendMessage", {"text": "hi"}, "chat_id is empty"),
        ("banChatMember", {"chat_id": 5, "user_id": ""}, 'parameter "user_id" is required'),
        ("sendPhoto", {"chat_id": 5}, "there is no photo in the request"),
        ("banChatMember", {"chat_id": 5, "user_id": "five"}, 'parameter "user_id": must be an Integer'),
        ("banChatMember", {"chat_id": 5, "user_id": True}, 'parameter "user_id": must be an Integer'),
        ("banChatMember", {"chat_id": 5, "user_id": 2**63}, 'parameter "user_id": must be an Integer'),
        ("sendMessage", SEND | {"chat_id": 5.5}, 'parameter "chat_id": must be an Integer or a String'),
        ("sendMessage", SEND | {"protect_content": "on"}, 'parameter "protect_content": must be a Boolean'),
        ("sendMessage", SEND | {"reply_parameters": "{"}, "can't parse reply parameters JSON object"),
        (
            "sendMessage",
            SEND | {"reply_parameters": "[" * 100_000},
            'parameter "reply_parameters" is nested too deeply',
        ),
        ("sendMessage", SEND | {"reply_parameters": []}, "object expected as reply parameters"),
        (
            "sendLocation",
            {"chat_id": 5, "latitude": "north", "longitude": 1},
            'parameter "latitude": must be a Float',
        ),
        (
            "sendLocation",
            {"chat_id": 5, "latitude": "nan", "longitude": 1},
            'parameter "latitude": must be a Float',
        ),
        (
            "sendMessage",
            SEND | {"reply_markup": {"inline_keyboard": [[{"text": "a"}]], "force_reply": 5}},
            "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
        ),
        (
            "sendMessage",
            SEND | {"reply_markup": {"inline_keyboard": [[{"text": "a", "web_app": {}}]]}},
            (
                'parameter "reply_markup".inline_keyboard[0][0].web_app: '
                "can't parse WebAppInfo: Can't find field \"url\""
            ),
        ),
        (
            "deleteMessages",
            {"chat_id": 5, "message_ids": "[1,[]]"},
            'parameter "message_ids"[1]: must be an Integer',
        ),
        (
            "sendMediaGroup",
            {"chat_id": 5, "media": [{"type": "photo", "media": "attach://x"}]},
            'parameter "media"[0].media: there is no uploaded file "x" in the request',
        ),
        (
            "sendMediaGroup",
            {"chat_id": 5, "media": [{"type": "hologram", "media": "x"}]},
            'parameter "media"[0]: Unsupported "type" specified',
        ),
        ("sendMediaGroup", {"chat_id": 5, "media": [{}]}, 'parameter "media"[0]: Can\'t find field "type"'),
        ("setChatPhoto", {"chat_id": 5, "photo": "id"}, 'parameter "photo": must be an uploaded file'),
        ("sendPhoto", {"chat_id": 5, "photo": "attach://x"}, 'there is no uploaded file "x" in the request'),
        (
            "sendMessage",
            SEND | {"reply_markup": {"buttons": []}},
            (
                'parameter "reply_markup": expected InlineKeyboardMarkup or ReplyKeyboardMarkup or ReplyKeyboardRemove'
                " or ForceReply"
            ),
        ),
        (
            "answerInlineQuery",
            {"inline_query_id": "1", "results": [{"type": "article", "id": "1", "title": "t"}]},
            'parameter "results"[0]: can\'t parse InlineQueryResultArticle: Can\'t find field "input_message_content"',
        ),
    ],
)
def test_an_invalid_call_is_refused_with_the_reason(method, params, reason):
    assert refusal(method, params) == reason


def test_an_article_needs_a_content_that_is_one():
    article = {"type": "article", "id": "1", "title": "t", "input_message_content": {"message_text": "hi"}}
    check("answerInlineQuery", {"inline_query_id": "1", "results": [article]}, strict=True)
    wrong = article | {"input_message_content": {"phone_number": "1"}}
    assert "input_message_content" in refusal(
        "answerInlineQuery", {"inline_query_id": "1", "results": [wrong]}
    )


def test_both_shapes_of_a_result_with_the_same_type_pass():
    for file in ({"photo_file_id": "x"}, {"photo_url": "https://a.b/", "thumbnail_url": "https://a.b/"}):
        params = {"inline_query_id": "1", "results": [{"type": "photo", "id": "1", **file}]}
        check("answerInlineQuery", params, strict=True)


def test_rich_text_in_any_depth():
    block = {"type": "paragraph", "text": ["a", {"type": "bold", "text": ["b", "c"]}]}
    check("sendRichMessage", {"chat_id": 5, "rich_message": {"blocks": [block]}}, strict=True)
    wrong = {"type": "paragraph", "text": ["a", {"type": "bold", "text": [5]}]}
    assert refusal("sendRichMessage", {"chat_id": 5, "rich_message": {"blocks": [wrong]}}) == (
        'parameter "rich_message".blocks[0].text[1].text[0]: expected an Object'
    )


def test_uploads_that_are_meant_are_no_unknown_parameters():
    media = [{"type": "photo", "media": "attach://x"}]
    check("sendMediaGroup", {"chat_id": 5, "media": media, "x": PART}, strict=True)
    assert refusal("sendMediaGroup", {"chat_id": 5, "media": media, "x": PART, "y": PART}, strict=True) == (
        'unknown parameter "y"'
    )
