"""Every Python example of docs/*.md runs, and its own tests (test_...) pass; what they do is tested in the named modules."""

import re

import pytest

from tests.kit.docs import DOCS, modules, pages

TESTED = {
    "api.md": "tests/test_readme.py",
    "buttons.md": "tests/dialogue/buttons/test_long.py",
    "data.md": "tests/dialogue/state/test_shared.py",
    "events.md": "tests/dialogue/routes/test_events_docs.py",
    "filters.md": "tests/dialogue/filters/test_filters_docs.py",
    "from-aiogram.md": "tests/dialogue/test_guides.py",
    "from-python-telegram-bot.md": "tests/dialogue/test_guides.py",
    "handlers.md": "tests/test_readme.py",
    "hooks.md": "tests/dialogue/routes/test_hooks_docs.py",
    "languages.md": "tests/dialogue/languages/test_languages.py",
    "menus.md": "tests/dialogue/router/test_menus.py",
    "named.md": "tests/dialogue/contexts/test_named.py",
    "operating.md": "tests/metrics/test_operating.py",
    "postgres.md": "tests/stores/test_postgres_docs.py",
    "refused.md": "tests/dialogue/router/test_refused.py",
    "schedules.md": "tests/dialogue/routes/test_schedules.py",
    "streaming.md": "tests/dialogue/inbox/test_meanwhile.py",
    "traces.md": "tests/tracing/test_traces_docs.py",
    "webhook.md": "tests/service/test_webhook_telegram.py",
    "widgets.md": "tests/widgets/test_widgets_docs.py",
    "web.md": "tests/web/test_web_docs.py",
}
"""Which test module uses the examples of a page."""


@pytest.mark.parametrize("page", [page.name for page in pages()])
def test_the_examples_run(page):
    with modules(page) as made:
        for module in made.values():
            for name, each in list(vars(module).items()):
                if name.startswith("test_") and callable(each):
                    each()


@pytest.mark.parametrize("page", [page.name for page in pages()])
def test_the_examples_are_used_by_a_test(page):
    if not re.search("^```python$", (DOCS / page).read_text(), re.MULTILINE):
        pytest.skip("no example")
    path = DOCS.parent / TESTED[page]
    assert f'modules("{page}")' in path.read_text()


@pytest.mark.parametrize("page", [page.name for page in pages()])
def test_links_to_files_are_true(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", (DOCS / page).read_text()):
        assert (DOCS / target).exists(), target
