"""Lets a notebook kernel keep 10,000 outputs until the server reads them, because it loses outputs if more wait."""

from IPython import get_ipython as _get_ipython

if _kernel := getattr(_get_ipython(), "kernel", None):  # none in a terminal

    def _keep_outputs(thread=_kernel.iopub_thread):
        # The socket's default is 1000. A new value applies to the connections that exist, so set it in each cell.
        thread.schedule(lambda: setattr(thread.socket, "sndhwm", 10_000))

    _get_ipython().events.register("pre_execute", _keep_outputs)
    del _keep_outputs
del _get_ipython, _kernel
