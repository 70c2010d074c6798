"""Offers only the kernels of the image, because a notebook can write kernels into home and into mounts."""

from pathlib import Path

from agent import own_kernels
from agent_client import APART, LAB
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_core.paths import jupyter_path

VENV = Path("/opt/venv")


class ImageKernelSpecs(KernelSpecManager):
    """Kernels of the lab, of Debian packages and of /opt/venv.

    If two kernels have the same name, the server offers the first one in this order.
    """

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.named: set[str] = set()

    def _kernel_dirs_default(self) -> list[str]:
        return [*jupyter_path("kernels"), str(VENV / "share/jupyter/kernels")]

    def find_kernel_specs(self) -> dict[str, str]:
        """Also write the name of each kernel in home to the log, once, so that its user finds out why it is missing."""
        for name in LAB.newest.own_kernels if APART else own_kernels():
            if name not in self.named and len(self.named) < 100:
                self.named.add(name)
                message = (
                    f"the kernel {name[:100]!r} in your home is not offered, because the server takes kernels "
                    "from the image only. Run 'make add PKG=NAME'. NAME is the package that contains this kernel."
                )
                self.log.warning("labdock: %s", message)
        return super().find_kernel_specs()

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Every kernel runs your environment's Python, and ends before the server if memory runs out."""
        spec = super().get_kernel_spec(kernel_name)
        spec.metadata.pop(
            "kernel_provisioner", None
        )  # a package could start its kernel in another way, next to the server
        # Jupyter would replace these names with the server's own Python.
        if spec.argv[0] in ("python", "python3"):
            spec.argv[0] = str(VENV / "bin/python")
        if spec.argv[0] != "choom":
            spec.argv = ["choom", "-n", "1000", "--", *spec.argv]
        # A kernel that a notebook installs goes to home, not to the server's folder, which is read-only.
        spec.env = {"JUPYTER_DATA_DIR": "", "JUPYTER_PATH": "/opt/labdock", **spec.env}
        return spec
