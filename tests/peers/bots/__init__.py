"""One bot per framework, each started as `python -m bots.NAME` from the folder above; they know nothing of Chatlane."""
