"""The command line and the processes behind it: `nightlab VERB` runs `commands/VERB.py`."""
