"""Lets a notebook kernel keep 10,000 outputs until the server reads them, because it loses outputs if more wait."""

import zmq
from ipykernel.kernelapp import IPKernelApp

_init_iopub = IPKernelApp.init_iopub


def init_iopub(app, context):
    """Make the socket for outputs. Its default is 1000. A change at a socket that is in use can end the kernel."""
    context.setsockopt(zmq.SNDHWM, 10_000)  # for new sockets
    _init_iopub(app, context)


IPKernelApp.init_iopub = init_iopub
