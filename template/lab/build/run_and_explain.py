"""Runs a command of the build with your site's settings: `python run_and_explain.py COMMAND [ARGUMENT ...]`.

The settings are the certificates, package index, Debian mirrors and proxy in .env, or the bundle in lab/bundle. The
command's output passes through, without credentials. If the command fails, the last line says why in one sentence.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

CERTIFICATES = Path("/run/secrets/ca")  # LAB_CA_BUNDLE; an empty file if LAB_CA_BUNDLE is not set
INDEX = Path("/run/secrets/index")  # PIP_INDEX_URL: a secret, because it may contain a password
BUNDLE = Path("/bundle")
SOURCES = Path("/etc/apt/sources.list.d")
UNREACHABLE = (
    r"could not resolve|could not connect|connection (refused|failed|reset|timed out)|timed? ?out|unreachable"
    r"|name resolution|dns error|error sending request|failed to (establish|fetch)|unable to connect|proxy"
)


@dataclass(frozen=True)
class Source:
    """A source of packages: its name in messages, the setting for its address, its address, and its certificates."""

    name: str
    setting: str
    address: str
    certificates: Path = CERTIFICATES


def restored() -> bool:
    """Was the project restored from a bundle? Then the build uses no network."""
    return os.access(BUNDLE / "SHA256SUMS", os.R_OK)


def masked(text: str) -> str:
    """`text` without the credentials of any address in it."""
    return re.sub(r"//\S*@", "//", text)


def python_settings(addresses: list[str], certificates: Path) -> dict[str, str]:
    """Environment variables for pip and uv: the certificates, and either the bundle or the indexes.

    The first of `addresses` is the default index. pip and uv ask the other indexes before the default index.
    """
    found = {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    if certificates.exists() and certificates.stat().st_size:
        found |= {"SSL_CERT_FILE": str(certificates), "PIP_CERT": str(certificates)}
    if addresses:
        found |= {"PIP_INDEX_URL": addresses[0], "UV_DEFAULT_INDEX": addresses[0]}
    if more := " ".join(addresses[1:]):
        found |= {"PIP_EXTRA_INDEX_URL": more, "UV_INDEX": more}
    if restored():
        wheels = str(BUNDLE / "wheels")
        found |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels, "UV_FIND_LINKS": wheels}
    return found


def apt_settings(folder: Path) -> dict[str, str]:
    """Environment variables for apt. Its files in `folder` name the certificates, and the mirrors or the bundle."""
    configuration = f'Dir::Etc::SourceParts "{folder}/sources";\nAPT::Sandbox::User "root";\n'
    if restored():
        (folder / "sources").mkdir()
        source = f"Types: deb\nURIs: file:{BUNDLE}/debs\nSuites: ./\nTrusted: yes\n"
        (folder / "sources/bundle.sources").write_text(source, encoding="utf-8")
        configuration += 'Dir::Etc::SourceList "/dev/null";\n'
    else:
        shutil.copytree(SOURCES, folder / "sources")
        use_mirrors(folder / "sources/debian.sources")
    if CERTIFICATES.exists() and CERTIFICATES.stat().st_size:
        configuration += f'Acquire::https::CAInfo "{CERTIFICATES}";\n'
    (folder / "apt.conf").write_text(configuration, encoding="utf-8")
    # Some packages write the date into the files that they create (users, caches). This variable gives a fixed date.
    epoch = {"SOURCE_DATE_EPOCH": "315532800"}
    return epoch | {"APT_CONFIG": str(folder / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}


def use_mirrors(sources: Path) -> None:
    """Put DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR into a copy of the base image's `sources`."""
    if not sources.exists():
        return
    text = sources.read_text(encoding="utf-8")
    for uris, setting in ((r".*security.*", "DEBIAN_SECURITY_MIRROR"), (r"(?!.*security).*", "DEBIAN_MIRROR")):
        if address := os.environ.get(setting):
            text = re.sub(rf"^URIs: {uris}$", f"URIs: {address}", text, flags=re.MULTILINE)
    sources.write_text(text, encoding="utf-8")


def reason(said: str, source: Source) -> str | None:
    """The reason why a command that uses `source` failed, read from its output `said`. None if it shows no reason."""
    name = "the bundle in lab/bundle" if restored() else source.name
    pinned = os.environ.get("DEBIAN_PINS")
    again = f"Try again. If the same error comes again, do not trust {name}."

    def found(pattern: str) -> re.Match[str] | None:
        return re.search(pattern, said, re.IGNORECASE | re.MULTILINE)

    if found(r"no space left on device|os error 28"):
        free = shutil.disk_usage("/").free // 10**9
        return f"the disk is full ({free} GB are free). Run 'docker system prune' to free space."
    if found(r"\b40[13] (error|client error|unauthorized|forbidden)"):
        return f"{name} refuses your credentials ({source.setting} is '{source.address}'). Correct them in .env."
    if gone := found(r"^E: Version '(.*)' for '(.*)' was not found"):
        package = f"{gone[2]} {gone[1]}"
        if pinned and restored():
            replace = "Replace compose.pins.yaml with the file of this name from the bundle."
            return f"the bundle in lab/bundle lacks {package}. {replace}"
        if pinned:
            return f"the Debian mirror no longer has the pinned {package}. Run 'make pin' to update compose.pins.yaml."
        rebuild = "Run 'docker compose build --no-cache', then 'make bundle'."
        return f"{name} no longer has {package}, which your image contains. {rebuild}"
    if pinned and found(r"unmet dependencies|held broken packages"):
        return "the versions in compose.pins.yaml do not fit together any more. Run 'make pin' to update them."
    if damaged := found(r"Failed to extract archive: (.*)|Wheel '(.*)' located at .* is invalid"):
        return f"{name} has a damaged file ({damaged[1] or damaged[2]}). {again}"
    if found(r"certificate|self.signed|UnknownIssuer"):
        certificates = source.certificates
        count = certificates.read_text(encoding="utf-8").count("BEGIN CERTIFICATE") if certificates.exists() else 0
        return (
            f"the certificate of {name} is not trusted (LAB_CA_BUNDLE adds {count} certificates). "
            "Set LAB_CA_BUNDLE in .env to a PEM file with your site's CA."
        )
    if found(r"hash(es)? mismatch|do not match the hashes|hash sum mismatch"):
        return f"a downloaded file does not match its hash in the lock. {again}"
    if restored():
        return (
            "the bundle in lab/bundle lacks a file that this step needs (see the lines above). "
            "Make a new bundle. To build from the network, delete all files in lab/bundle except .gitkeep."
        )
    if found(UNREACHABLE):
        fix = f"Set {source.setting}, or HTTP_PROXY and HTTPS_PROXY, in .env."
        return f"{name} cannot be reached ({source.setting} is '{source.address}'). {fix}"
    if missing := found(r"^ERROR: No matching distribution found for (.*)"):
        look_up = "Check its name and versions in the package index."
        return f"{name} has no '{missing[1]}' for this platform and Python. {look_up}"
    return None


def run_and_explain(*command: str) -> int:
    """Run `command`, show its output, explain a failure, and return the exit status."""
    addresses = INDEX.read_text(encoding="utf-8").split() if INDEX.exists() else []
    source = Source("the package index", "PIP_INDEX_URL", masked(" ".join(addresses)))
    # apt and curl read the variables of a proxy in lower case only.
    proxies = {f"{name}_proxy": os.environ.get(f"{name.upper()}_PROXY", "") for name in ("http", "https", "no")}
    environment = {**os.environ, **proxies, **python_settings(addresses, CERTIFICATES)}
    if command[0] == "uv" and restored():
        command = (*command, "--no-index")  # uv has no variable for this
    with tempfile.TemporaryDirectory() as folder:
        if command[0].startswith("apt"):
            source = Source("the Debian mirror", "DEBIAN_MIRROR", masked(os.environ.get("DEBIAN_MIRROR", "")))
            environment |= apt_settings(Path(folder))
        log = Path(folder, "pip.log")  # pip reports a wrong password in this file only
        running = subprocess.Popen(
            command,
            env=environment | {"PIP_LOG": str(log)},
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = ""
        for line in running.stdout or ():
            said += masked(line)
            print(masked(line), end="", flush=True)
        if running.wait():
            said += log.read_text(encoding="utf-8") if log.exists() else ""
            why = reason(said, source) or f"'{masked(' '.join(command))}' failed. Read its error in the lines above."
            print(f"labdock: {why}", file=sys.stderr)
    return running.returncode


if __name__ == "__main__":
    sys.exit(run_and_explain(*sys.argv[1:]))
