"""Run by each kernel as it starts (/etc/ipython leads here): %pip is the lab's own pip, which tries packages out."""


def _register(shell):
    import importlib

    def pip(line):
        """Install packages until the next start of the lab: %pip install NAME"""
        shell.system(f"/opt/labdock/bin/pip {line}")
        importlib.invalidate_caches()  # or what is new would not be found

    shell.register_magic_function(pip, "line", "pip")


_register(get_ipython())  # noqa: F821 (given by IPython)
del _register
