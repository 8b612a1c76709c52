"""The black-box proof: run.py as a process, a fake Telegram as another, real HTTP between them, real signals.

throughput   many chats at full speed: nothing lost, doubled or swapped, and no chat handled twice at a time
kill         kill -9 at the moments that matter: the same, except that a reply in flight may be sent again
sigterm      SIGTERM at random moments: the same, and no reply is sent again
trouble      a Telegram that is down, slow, rude or broken: the bot recovers by itself, and makes no storm
disk         kill -9 on a disk of 40 MB and one of 7 MB that fill: every start succeeds on what is left
poison       a user whose messages kill the process or its tasks: the others are served, the messages are buried
stubborn     SIGTERM while a handler will not stop, of 51 kinds: the end in time, and nothing is lost
storm        all of it at once, and SIGSTOP beyond the lease, for minutes or hours: the same as kill

`python -m tests.torture --help` tells the options; tests/torture/test_service.py runs small versions of all of them.
"""
