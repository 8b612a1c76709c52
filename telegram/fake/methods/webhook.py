"""setWebhook, deleteWebhook and getWebhookInfo (telegram-bot-api 10.0, `Client.cpp`: process_set_webhook_query and below).

Only servers on this machine get updates, and as of the official server only with `--local`: without it an address of this
machine is "reserved".
"""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from telegram.fake.protocol.answers import ApiError, Described, Json, bad_request
from telegram.fake.protocol.params import Params, Upload, boolean, integer, text
from telegram.fake.world import World
from telegram.fake.world.queue import DEFAULT_KINDS
from telegram.fake.world.webhook import Webhook, trusting

PORTS: Final = (443, 80, 88, 8443)
CERTIFICATE_BYTES_MAX: Final = 3 << 20
SECRET_MAX: Final = 256
SET_EVERY_S: Final = 1.0
_MAX_CONNECTIONS: Final = {False: (40, 100), True: (100, 100_000)}
"""Default and maximum, by whether the server is a local one."""


def set_webhook(world: World, params: Params) -> Described:
    """Set a webhook, or delete it if the url is empty. What is wrong with a new one leaves none set, as at Telegram."""
    url = text(params, "url")
    if not url:
        return delete_webhook(world, params)
    hooks = world.webhooks
    if world.now() < hooks.next_set_at:
        raise ApiError(429, "Too Many Requests: retry after 1", retry_after=1)
    hooks.next_set_at = world.now() + SET_EVERY_S
    default, maximum = _MAX_CONNECTIONS[world.files.local]
    asked = integer(params, "max_connections", default)
    new = Webhook(
        url=url,
        secret_token=text(params, "secret_token"),
        max_connections=min(max(asked, 1), maximum),
        certificate=_certificate(params),
        ip_address=text(params, "ip_address"),
    )
    drop = boolean(params, "drop_pending_updates")
    if hooks.current == new and new.certificate is None and not drop:
        world.queue.allow(params.get("allowed_updates"))
        return Described(True, "Webhook is already set")
    _close(world)
    if drop:
        world.queue.clear()
    _check(new, local=world.files.local)
    world.queue.allow(params.get("allowed_updates"))
    hooks.change(new)
    return Described(True, "Webhook was set")


def delete_webhook(world: World, params: Params) -> Described:
    """Delete the webhook and, on request, all waiting updates; the description says whether a webhook was set."""
    was_set = _close(world)
    if boolean(params, "drop_pending_updates"):
        world.queue.clear()
    return Described(True, "Webhook was deleted" if was_set else "Webhook is already deleted")


def get_webhook_info(world: World, _params: Params) -> Json:
    """Return the WebhookInfo, with allowed_updates unless they are the default."""
    queue, hooks = world.queue, world.webhooks
    hook = hooks.current
    info: Json = {
        "url": queue.webhook_url,
        "has_custom_certificate": hook is not None and hook.certificate is not None,
        "pending_update_count": queue.pending,
    }
    if hooks.last_error is not None:
        info["last_error_date"], info["last_error_message"] = hooks.last_error
    if hook is not None:
        info["max_connections"] = hook.max_connections
        info["ip_address"] = hook.ip_address or "127.0.0.1"
    if queue.allowed != DEFAULT_KINDS:
        info["allowed_updates"] = sorted(queue.allowed)
    return info


def _close(world: World) -> bool:
    was_set = bool(world.queue.webhook_url)
    if was_set:
        world.webhooks.change(None)
    return was_set


def _certificate(params: Params) -> bytes | None:
    file = params.get("certificate")
    if isinstance(file, str) and file.startswith("attach://"):
        file = params.get(file.removeprefix("attach://"))
    return file.content if isinstance(file, Upload) else None


def _check(webhook: Webhook, *, local: bool) -> None:
    try:
        parts = urlsplit(webhook.url if "://" in webhook.url else f"https://{webhook.url}")
        port = parts.port
    except ValueError:
        raise bad_request("invalid webhook URL specified") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise bad_request("invalid webhook URL specified")
    if len(webhook.secret_token) > SECRET_MAX:
        raise bad_request("secret token is too long")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", webhook.secret_token):
        raise bad_request("secret token contains unallowed characters")
    if webhook.certificate is not None and len(webhook.certificate) > CERTIFICATE_BYTES_MAX:
        raise bad_request(f"certificate size is too big ({len(webhook.certificate)} bytes)")
    if webhook.certificate is not None and parts.scheme == "https":
        try:
            trusting(webhook.certificate)
        except ValueError as error:
            raise _bad(f"Can't create an SSL context: {error}") from None
    if not local and parts.scheme == "http":
        raise _bad("An HTTPS URL must be provided for webhook")
    if not local and (port or 443) not in PORTS:
        raise _bad("Webhook can be set up only on ports 80, 88, 443 or 8443")
    host = webhook.ip_address or parts.hostname
    if not local and _is_here(host):
        raise _bad(f"IP address {'127.0.0.1' if host == 'localhost' else host} is reserved")
    if not _is_here(host):
        raise _bad("this fake server sends to this machine only")


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bad(reason: str) -> ApiError:
    return bad_request(f"bad webhook: {reason}")
