"""Makes %pip call the lab's own pip. Each notebook kernel runs this file at its start (from /etc/ipython)."""


def _register(shell):
    import importlib

    def pip(line):
        """Install packages until the next start of the lab: %pip install NAME"""
        shell.system(f"/opt/labdock/bin/pip {line}")
        importlib.invalidate_caches()  # without this, Python would not find the new packages

    shell.register_magic_function(pip, "line", "pip")


_register(get_ipython())  # noqa: F821 (given by IPython)
del _register
