import sys

import pytest

from telegram.dialogue import Router, load_router


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that can be imported under the name `their_handlers`."""

    def write(source: str) -> None:
        (tmp_path / "their_handlers.py").write_text(source)

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield write
    sys.modules.pop("their_handlers", None)


def test_a_router_is_loaded(module):
    module("from telegram.dialogue import Router\nmine = Router()\n")
    assert isinstance(load_router("their_handlers:mine"), Router)


@pytest.mark.parametrize(
    ("source", "spec", "says"),
    [
        (
            "",
            "their_handlers",
            "'their_handlers' does not name a router: write module:name, like handlers:router",
        ),
        ("", ":router", "':router' does not name a router: write module:name, like handlers:router"),
        (
            "",
            "nowhere_to_be_found:router",
            "there is no module 'nowhere_to_be_found' (wanted for 'nowhere_to_be_found:router')",
        ),
        (
            "",
            "handlers.nowhere:router",
            "there is no module 'handlers.nowhere' (wanted for 'handlers.nowhere:router')",
        ),
        (
            "",
            "their_handlers:router",
            "the module 'their_handlers' has no 'router' (wanted for 'their_handlers:router')",
        ),
        ("router = 1", "their_handlers:router", "'their_handlers:router' is not a Router but of type 'int'"),
        (
            "1 / 0",
            "their_handlers:router",
            "importing 'their_handlers' failed: ZeroDivisionError: division by zero (their_handlers.py, line 1)",
        ),
        (
            "raise OSError('a\\nb')",
            "their_handlers:router",
            "importing 'their_handlers' failed: OSError: a b (their_handlers.py, line 1)",
        ),
        (
            "raise SystemExit('bye')",
            "their_handlers:router",
            "importing 'their_handlers' failed: SystemExit: bye (their_handlers.py, line 1)",
        ),
        (
            "import nowhere_to_be_found",
            "their_handlers:router",
            "importing 'their_handlers' failed: ModuleNotFoundError: No module named 'nowhere_to_be_found' (their_handlers.py, line 1)",
        ),
    ],
)
def test_a_router_that_cannot_be_loaded_is_an_error_of_one_line(module, source, spec, says):
    module(source)
    with pytest.raises(ValueError) as caught:
        load_router(spec)
    assert str(caught.value) == says


def test_a_syntax_error_is_an_error_of_one_line(module):
    module("def (:\n")
    with pytest.raises(ValueError, match=r"^importing 'their_handlers' failed: SyntaxError: [^\n]*$"):
        load_router("their_handlers:router")


def test_a_programming_error_in_a_handler_is_reported_with_its_line(module):
    module(
        "from telegram.dialogue import Router, text\n"
        "router = Router()\n"
        "@router.message(text)\n"
        "def sync(ctx): ...\n"
    )
    with pytest.raises(ValueError, match=r"async def.* \(their_handlers.py, line 3\)$"):
        load_router("their_handlers:router")


def test_what_is_wrong_in_the_router_as_a_whole_is_an_error_of_the_setting(module):
    module(
        "from telegram.dialogue import Router\n"
        "router = Router()\n"
        "for schedule in ('0 9 * * *', '0 10 * * *'):\n"
        "    @router.every(schedule, tz='UTC')\n"
        "    async def report(): ...\n"
    )
    with pytest.raises(
        ValueError, match=r"^HANDLERS: two jobs have the name 'report': give one of them name=$"
    ):
        load_router("their_handlers:router")
