"""The customer's language."""

from typing import Final

from telegram.dialogue import CallbackContext, CallbackData, MessageContext, Router, command, inline

NAMES: Final = {"en": "English", "ru": "Русский"}


class Language(CallbackData, prefix="language"):
    """A button with a language."""

    code: str


router = Router()


@router.message(command("language", help="Choose a language"))
async def choose(ctx: MessageContext) -> None:
    """Show the languages."""
    buttons = [(name, Language(code=code)) for code, name in NAMES.items()]
    ctx.reply(ctx.t("Which language?"), reply_markup=inline(buttons))


@router.callback_query(Language)
async def chosen(ctx: CallbackContext, language: Language) -> None:
    """Keep the choice; a forged button is one without a language."""
    if language.code in NAMES:
        ctx.lang = language.code
        ctx.edit(ctx.t("We speak English now."))
