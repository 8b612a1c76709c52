"""What docs/postgres.md says is true."""

import re

import asyncpg

from engine.stores.contract import append
from engine.stores.contract.store import update
from engine.stores.postgres import open_postgres
from tests.kit.docs import DOCS, modules


def test_there_is_nothing_to_import():
    with modules("postgres.md") as made:
        assert not made


async def test_the_role_and_the_database_are_enough(database, new_bot):
    page = (DOCS / "postgres.md").read_text()
    (statements,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    person = await asyncpg.connect(database.url().partition("?")[0])
    for statement in statements.strip().split("\n"):
        await person.execute(statement)
    (url,) = re.findall(r"STORE_URL='(.*)\?sslrootcert", page)
    url = url.replace("db.example.org", f"127.0.0.1:{database.port}")
    store = await open_postgres(url, new_bot())
    assert await append(store, [update(1)]) == 1
    await store.close()
    await person.close()
