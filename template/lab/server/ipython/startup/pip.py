"""Each notebook kernel runs this when it starts (from /etc/ipython). It makes %pip call the lab's own pip."""


def _register(shell):
    import importlib

    def pip(line):
        """Install packages until the next start of the lab: %pip install NAME"""
        shell.system(f"/opt/labdock/bin/pip {line}")
        importlib.invalidate_caches()  # or Python would not find the new packages

    shell.register_magic_function(pip, "line", "pip")


_register(get_ipython())  # noqa: F821 (given by IPython)
del _register
