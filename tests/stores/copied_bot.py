"""The bots of test_copying_processes: `closed` fails or hangs where `opened` goes on."""

from tests.stores.older.bot import router

closed = router(is_open=False)
opened = router(is_open=True)
