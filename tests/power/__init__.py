"""Power cuts: the SQLite store on a disk that forgets what was not synced.

One *life* is one disk: a store is opened on it, works, and the power fails at a random operation; and again, and
again. After each cut the file is judged by what the history knows: DESIGN, "Invariants", as one pure function.
"""
