"""Run by each kernel as it starts: its new files obey LAB_UMASK, also where an editor or `docker exec` started it."""

import os as _os

_os.umask(int(_os.environ.get("LAB_UMASK") or "022", 8))
del _os
