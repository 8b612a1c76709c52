"""All methods of the Bot API, by name in lower case; other names are answered with 404.

Each takes the world and the parameters, which were checked against the schema, and returns the result or raises
ApiError. Methods that are not in this table are `generic`. getUpdates waits, so the server handles it itself.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from telegram.fake.protocol.answers import ApiError
from telegram.fake.protocol.checks import check
from telegram.fake.protocol.params import Params, integer
from telegram.fake.protocol.shapes import schema
from telegram.fake.world import World
from telegram.fake.world.attachments import KINDS

from . import (
    bot,
    chats,
    editing,
    files,
    links,
    media,
    members,
    polls,
    queries,
    sending,
    stickers,
    topics,
    webhook,
)
from .generic import sample_method


class Method(NamedTuple):
    """A method's name in the documented case, and its implementation."""

    name: str
    run: Callable[[World, Params], Any]


_WITH_STATE: dict[str, Callable[[World, Params], Any]] = {
    # the bot
    "getMe": bot.get_me,
    "logOut": bot.log_out,
    "close": bot.close,
    "setWebhook": webhook.set_webhook,
    "deleteWebhook": webhook.delete_webhook,
    "getWebhookInfo": webhook.get_webhook_info,
    "setMyCommands": bot.set_my_commands,
    "getMyCommands": bot.get_my_commands,
    "deleteMyCommands": bot.delete_my_commands,
    "setMyName": bot.profile_setter("name"),
    "getMyName": bot.profile_getter("name"),
    "setMyDescription": bot.profile_setter("description"),
    "getMyDescription": bot.profile_getter("description"),
    "setMyShortDescription": bot.profile_setter("short_description"),
    "getMyShortDescription": bot.profile_getter("short_description"),
    "setMyProfilePhoto": bot.set_my_profile_photo,
    "removeMyProfilePhoto": bot.remove_my_profile_photo,
    "getUserProfilePhotos": bot.get_user_profile_photos,
    "setChatMenuButton": bot.set_chat_menu_button,
    "getChatMenuButton": bot.get_chat_menu_button,
    "setMyDefaultAdministratorRights": bot.set_my_default_administrator_rights,
    "getMyDefaultAdministratorRights": bot.get_my_default_administrator_rights,
    # messages
    "sendMessage": sending.send_message,
    "sendMessageDraft": sending.send_message_draft,
    "sendLocation": sending.send_location,
    "sendVenue": sending.send_venue,
    "sendContact": sending.send_contact,
    "sendDice": sending.send_dice,
    "sendInvoice": sending.send_invoice,
    "sendGame": sending.send_game,
    "sendChecklist": sending.send_checklist,
    "sendRichMessage": sending.send_rich_message,
    "forwardMessage": sending.forward_message,
    "forwardMessages": sending.forward_messages,
    "copyMessage": sending.copy_message,
    "copyMessages": sending.copy_messages,
    **{"send" + "".join(part.title() for part in kind.split("_")): media.sender(kind) for kind in KINDS},
    "sendPaidMedia": media.send_paid_media,
    "sendMediaGroup": media.send_media_group,
    "sendPoll": polls.send_poll,
    "stopPoll": polls.stop_poll,
    "editMessageText": editing.edit_message_text,
    "editMessageCaption": editing.edit_message_caption,
    "editMessageMedia": media.edit_message_media,
    "editMessageReplyMarkup": editing.edit_message_reply_markup,
    "editMessageLiveLocation": editing.edit_message_live_location,
    "stopMessageLiveLocation": editing.stop_message_live_location,
    "editMessageChecklist": editing.edit_message_checklist,
    "deleteMessage": editing.delete_message,
    "deleteMessages": editing.delete_messages,
    "setMessageReaction": editing.set_message_reaction,
    "deleteMessageReaction": editing.delete_message_reaction,
    "sendChatAction": chats.send_chat_action,
    "getFile": files.get_file,
    # answers
    "answerCallbackQuery": queries.answer_callback_query,
    "answerInlineQuery": queries.answer_inline_query,
    "answerShippingQuery": queries.payment_answerer("shipping_query"),
    "answerPreCheckoutQuery": queries.payment_answerer("pre_checkout_query"),
    "answerChatJoinRequestQuery": queries.answer_chat_join_request_query,
    "answerGuestQuery": queries.answer_guest_query,
    "answerWebAppQuery": queries.answer_web_app_query,
    "getBusinessConnection": queries.get_business_connection,
    # chats
    "getChat": chats.get_chat,
    "getChatMemberCount": chats.get_chat_member_count,
    "setChatTitle": chats.set_chat_title,
    "setChatDescription": chats.set_chat_description,
    "setChatPhoto": chats.set_chat_photo,
    "deleteChatPhoto": chats.delete_chat_photo,
    "setChatPermissions": chats.set_chat_permissions,
    "setChatStickerSet": chats.set_chat_sticker_set,
    "deleteChatStickerSet": chats.delete_chat_sticker_set,
    "leaveChat": chats.leave_chat,
    "pinChatMessage": chats.pin_chat_message,
    "unpinChatMessage": chats.unpin_chat_message,
    "unpinAllChatMessages": chats.unpin_all(lambda _params: None),
    "unpinAllForumTopicMessages": chats.unpin_all(lambda params: integer(params, "message_thread_id")),
    "unpinAllGeneralForumTopicMessages": chats.unpin_all(lambda _params: 0),
    # members
    "getChatMember": members.get_chat_member,
    "getChatAdministrators": members.get_chat_administrators,
    "banChatMember": members.ban_chat_member,
    "unbanChatMember": members.unban_chat_member,
    "restrictChatMember": members.restrict_chat_member,
    "promoteChatMember": members.promote_chat_member,
    "setChatAdministratorCustomTitle": members.set_chat_administrator_custom_title,
    "setChatMemberTag": members.set_chat_member_tag,
    "banChatSenderChat": members.ban_chat_sender_chat,
    "unbanChatSenderChat": members.ban_chat_sender_chat,
    # invite links and topics
    "exportChatInviteLink": links.export_chat_invite_link,
    "createChatInviteLink": links.create_chat_invite_link,
    "editChatInviteLink": links.edit_chat_invite_link,
    "createChatSubscriptionInviteLink": links.create_chat_subscription_invite_link,
    "editChatSubscriptionInviteLink": links.edit_chat_invite_link,
    "revokeChatInviteLink": links.revoke_chat_invite_link,
    "approveChatJoinRequest": links.approve_chat_join_request,
    "declineChatJoinRequest": links.decline_chat_join_request,
    "createForumTopic": topics.create_forum_topic,
    "editForumTopic": topics.edit_forum_topic,
    "closeForumTopic": topics.opener(closed=True),
    "reopenForumTopic": topics.opener(closed=False),
    "deleteForumTopic": topics.delete_forum_topic,
    "editGeneralForumTopic": topics.edit_general_forum_topic,
    "closeGeneralForumTopic": topics.opener(closed=True, general=True),
    "reopenGeneralForumTopic": topics.opener(closed=False, general=True),
    "hideGeneralForumTopic": topics.hider(hidden=True),
    "unhideGeneralForumTopic": topics.hider(hidden=False),
    # stickers
    "uploadStickerFile": stickers.upload_sticker_file,
    "createNewStickerSet": stickers.create_new_sticker_set,
    "getStickerSet": stickers.get_sticker_set,
    "addStickerToSet": stickers.add_sticker_to_set,
    "replaceStickerInSet": stickers.replace_sticker_in_set,
    "setStickerPositionInSet": stickers.set_sticker_position_in_set,
    "deleteStickerFromSet": stickers.delete_sticker_from_set,
    "setStickerEmojiList": stickers.set_sticker_emoji_list,
    "setStickerKeywords": stickers.set_sticker_keywords,
    "setStickerMaskPosition": stickers.set_sticker_mask_position,
    "setStickerSetTitle": stickers.set_sticker_set_title,
    "setStickerSetThumbnail": stickers.set_sticker_set_thumbnail,
    "setCustomEmojiStickerSetThumbnail": stickers.set_custom_emoji_sticker_set_thumbnail,
    "deleteStickerSet": stickers.delete_sticker_set,
    "getCustomEmojiStickers": stickers.get_custom_emoji_stickers,
}

METHODS = {
    name.lower(): Method(name, _WITH_STATE.get(name) or sample_method(name))
    for name in schema().methods
    if name != "getUpdates"
}


def run(world: World, method: str, params: Params, *, strict: bool = False) -> Any:
    """Execute a method (name in lower case) and return its result; `strict` as in `checks`. ApiError if it is refused."""
    if world.logged_out:
        raise ApiError(400, "Logged out")
    found = METHODS.get(method)
    if found is None:
        raise ApiError(404, "Not Found: method not found")
    check(found.name, params, strict=strict)
    if world.flood is None:
        return found.run(world, params)
    world.flood.check(method, params, world.now())
    result = found.run(world, params)
    world.flood.count(method, params, world.now())
    return result
