"""Each notebook kernel runs this when it starts. It applies LAB_UMASK, whoever starts the kernel."""

import os as _os

_os.umask(int(_os.environ.get("LAB_UMASK") or "022", 8))
del _os
