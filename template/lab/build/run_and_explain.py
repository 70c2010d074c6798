"""Runs a command of the build with your site's settings: `python run_and_explain.py COMMAND [ARGUMENT ...]`.

The settings are the certificates, package index, Debian mirrors and proxy in .env, or the bundle in lab/bundle. The
command's output passes through, without credentials. If the command fails, the last line says why in one sentence.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

CERTIFICATES = Path("/run/secrets/ca")  # LAB_CA_BUNDLE. The file is empty if LAB_CA_BUNDLE is not set
INDEX = Path("/run/secrets/index")  # PIP_INDEX_URL is a secret, because it may contain a password
BUNDLE = Path("/bundle")
SOURCES = Path("/etc/apt/sources.list.d")
EXTENSIONS = Path("/build/server-extensions.lock")  # this file exists only in the stage that installs the server
# Each pattern fits a line that uv, pip or apt writes itself. uv indents the output of a package's own build. pip writes
# this output into its log. The errors of an index are also in the log. Each line of the log starts with the time.
UNREACHABLE = (
    r"^  cause: (error sending request|operation timed out|dns error|tcp connect error|connection (reset|closed))"
    r"|^\S+ Could not fetch URL \S+: connection error"
    r"|^ERROR: Could not install packages due to an OSError: .*(Max retries exceeded|Connection broken|timed out)"
    r"|^pip\._vendor\.urllib3\.exceptions\.(ReadTimeout|Protocol)Error"
    r"|^E: Failed to fetch \S+ +(Could not (resolve|connect|wait)|Temporary failure resolving|Unable to connect"
    r"|Cannot initiate|Connection (failed|timed out)|Error reading from server|Invalid response from proxy)"
)
STATUS = (  # an error answer, with its address and its HTTP status
    r"^  cause: HTTP status \w+ error \((?P<status>\d+.*?)\) for url \((?P<url>\S+)\)",
    r"^hint: An index.*? \((?P<url>\S+)\) .*?\b(?P<status>40[13] \w+)",
    r"^\S+ Could not fetch URL (?P<url>\S+): (?P<status>40[137] .*?) for url",
    r"^\S+ Could not fetch URL (?P<url>\S+): .*'too many (?P<status>\d+) error",
    r"^E: Failed to fetch (?P<url>\S+)  (?P<status>\d{3}  .*?)(?: \[|$)",
)
CERTIFICATE = (
    r"^  cause: invalid peer certificate"
    r"|^\S+ Could not fetch URL \S+: There was a problem confirming the ssl certificate"
    r"|^(ERROR|pip\._vendor\.urllib3\.exceptions\.\w+): .*CERTIFICATE_VERIFY_FAILED"
    r"|^E: Failed to fetch \S+ +(Certificate verification failed|SSL connection failed: .*certificate)"
)
HASH = r"^  cause: Hash mismatch|^ERROR: .* DO NOT MATCH THE HASHES|^E: Failed to fetch .*Hash Sum mismatch"
DAMAGED = r"^(?:error|  cause): Failed to extract archive: (.*)|^ERROR: Wheel '(.*)' located at .* is invalid"
DISK_FULL = r"[:(\]] ?No space left on device\)?$|\(28: No space left on device\)|\[Errno 28\]|\(os error 28\)"
UNMET = r"^The following packages have unmet dependencies|^E: Unable to (satisfy dependencies|correct problems)"
MISSING = (  # a package that the source does not have
    r"^ERROR: No matching distribution found for (.*)",
    r"^  cause: Because (\S+) has no wheels with a matching",
)
MISSING_DEB = (r"^E: Unable to locate package (.*)", r"^E: Package '(.*)' has no installation candidate")


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

    The first of `addresses` is the default index. uv asks the other indexes before the default index.
    """
    found = {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    found |= {"UV_NO_WRAP": "1"}  # `reason` reads whole lines
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
    """Write apt's settings for certificates, mirrors and the bundle into `folder`. Return the variables for apt."""
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

    def mirror(line: re.Match[str]) -> str:
        address = os.environ.get("DEBIAN_SECURITY_MIRROR" if "security" in line[0] else "DEBIAN_MIRROR")
        return f"URIs: {address}" if address else line[0]

    text = sources.read_text(encoding="utf-8")
    sources.write_text(re.sub(r"^URIs: .*$", mirror, text, flags=re.MULTILINE), encoding="utf-8")


def build_error(said: str) -> tuple[str, str] | None:
    """The name of the source package that could not be built, and its error message. None if no build failed."""
    built_by_uv = r"^error: Failed to .*?`(.*?)`\n  cause: The build backend returned an error\n"
    if uv := re.search(built_by_uv, said, re.MULTILINE):
        package, output = uv[1], said[uv.end() :].partition("\nhint: ")[0]
    elif re.search(r"^error: (?:subprocess-exited|metadata-gener)\S+\n\s*× (?!pip subprocess)", said, re.MULTILINE):
        package = (re.findall(r"^\S+ Removed (\S+) from \S", said, re.MULTILINE) or ["a package"])[-1]
        output = re.split(r"\n\S+ +ERROR: \[", said.rpartition(" Running command ")[2])[0]
    else:
        return None
    # The last error is often only the end of the chain, such as "command gcc failed".
    lines = [re.sub(r"^\d{4}-\S+", "", line).strip() for line in output.splitlines()]
    errors = [line for line in lines if re.search(r"\berror\b(?!s)", line, re.IGNORECASE)]
    causes = [line for line in errors if re.search(r"fatal error:|error: (?!command )", line, re.IGNORECASE)]
    return package, (causes or errors or [line for line in lines if line] or ["no error"])[-1][:200].rstrip(".")


def bundled_files(lock: str) -> dict[str, str]:
    """Address -> the URI of the bundle's file with the same hash, for each entry NAME @ ADDRESS of a lock."""
    wanted = re.findall(r"^\S+ @ (\S+).*\n((?: .*\n?)+)", lock, re.MULTILINE)
    if not wanted:
        return {}
    wheels = [path for path in (BUNDLE / "wheels").iterdir() if path.is_file()]
    files = {hashlib.sha256(path.read_bytes()).hexdigest(): path.as_uri() for path in wheels}
    hashes = [(address, each) for address, entry in wanted for each in re.findall(r"sha256:(\w+)", entry)]
    return {address: files[each] for address, each in hashes if each in files}


def with_bundled_files(lock: Path, folder: Path) -> str:
    """The path of a copy of `lock` in `folder`, with the bundle's files instead of their addresses."""
    text = lock.read_text(encoding="utf-8")
    for address, file in bundled_files(text).items():
        text = text.replace(f" @ {address}", f" @ {file}")
    (folder / lock.name).write_text(text, encoding="utf-8")
    return str(folder / lock.name)


def reason(said: str, source: Source) -> str | None:
    """The reason why a command that uses `source` failed, read from its output `said`. The reason may be None."""
    name = "the bundle in lab/bundle" if restored() else source.name
    pinned = os.environ.get("DEBIAN_PINS") or os.environ.get("DEBIAN_BUILD_PINS")

    def found(*patterns: str) -> re.Match[str] | None:
        matches = (re.search(pattern, said, re.MULTILINE) for pattern in patterns)
        return next((match for match in matches if match), None)

    # The address of one file, for example an address in pyproject.toml. The file may be on another host than the index.
    direct = found(r"Failed to fetch: (https?://\S+\.(?:whl|gz|zip))$", r"^error: Failed to .*?`\S+ @ (https?://\S+)`")
    if direct and not restored():
        name = direct[1]
    again = f"Try again. If the same error comes again, do not trust {name}."

    if found(DISK_FULL):
        free = shutil.disk_usage("/").free // 10**9
        return f"the disk is full ({free} GB are free). Run 'docker system prune' to free space."
    if failed := build_error(said):
        package, error = failed
        return (
            f"{package} must be built from source, and its build failed with '{error}'. "
            "If it needs Debian packages such as gcc, name them in DEBIAN_BUILD_PACKAGES in compose.override.yaml."
        )
    if gone := found(r"^E: Version '(.*)' for '(.*)' was not found"):
        package = f"{gone[2]} {gone[1]}"
        if pinned and restored():
            return f"the bundle in lab/bundle lacks {package}. Copy compose.pins.yaml from the bundle into this folder."
        if pinned:
            return f"the Debian mirror no longer has the pinned {package}. Run 'make pin' to update compose.pins.yaml."
        rebuild = "Run 'docker compose build --no-cache', then 'make bundle'."
        return f"{name} no longer has {package}, which your image contains. {rebuild}"
    if pinned and found(UNMET):
        return "the versions in compose.pins.yaml do not fit together any more. Run 'make pin' to update them."
    if EXTENSIONS.exists() and (two := found(r"you require (\S+)==(\S+) and \1==([^\s,]+),")):
        both = "lab/locks/server.lock and lab/locks/server-extensions.lock"
        return f"{both} have different versions: {two[1]} {two[2]} and {two[3]}. Run 'make extend'."
    if damaged := found(DAMAGED):
        return f"{name} has a damaged file ({damaged[1] or damaged[2]}). {again}"
    if found(HASH):
        return f"a downloaded file does not match its hash in the lock. {again}"
    if restored():
        if found(*MISSING, *MISSING_DEB, r"^(error|  cause): No solution found", r"^(E|error): Failed to (fetch|down)"):
            return (
                "the bundle in lab/bundle lacks a file that this step needs (see the lines above). "
                "Make a new bundle. To build from the network, delete all files in lab/bundle except .gitkeep."
            )
        return None
    if found(CERTIFICATE):
        certificates = source.certificates
        count = certificates.read_text(encoding="utf-8").count("BEGIN CERTIFICATE") if certificates.exists() else 0
        return (
            f"the certificate of {name} is not trusted (LAB_CA_BUNDLE adds {count} certificates). "
            "Set LAB_CA_BUNDLE in .env to a PEM file with your site's CA."
        )
    if answer := found(*STATUS):
        status = " ".join(answer["status"].split())
        if status.startswith("407"):
            return (
                f"your site's proxy refuses to connect to {name} ({status}). "
                "Write your name and password into HTTP_PROXY and HTTPS_PROXY in .env."
            )
        if direct:
            return f"{name} answers '{status}'. Check this address, and the credentials in PIP_INDEX_URL in .env."
        if status.startswith(("401", "403")):
            return f"{name} refuses your credentials ({source.setting} is '{source.address}'). Correct them in .env."
        return (
            f"{name} answers '{status}' for {answer['url']}. Try again. "
            f"If the same error comes again, correct {source.setting} in .env. It is '{source.address}' now."
        )
    if found(UNREACHABLE):
        if direct:
            return f"{name} cannot be reached. Check this address, and PIP_INDEX_URL and HTTPS_PROXY in .env."
        return (
            f"{name} cannot be reached ({source.setting} is '{source.address}'). "
            f"Set {source.setting}, or HTTP_PROXY and HTTPS_PROXY, in .env."
        )
    if insecure := found(r"^WARNING: The repository located at (\S+) is not a trusted or secure host"):
        return f"pip refuses {insecure[1]}, because its address starts with http. Use https in PIP_INDEX_URL in .env."
    if missing := found(*MISSING_DEB):
        return f"{name} has no package '{missing[1]}'. Correct its name in compose.override.yaml."
    if missing := found(*MISSING):
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
        if restored():
            own = {word for word in command if word.endswith("/requirements.lock")}
            command = tuple(with_bundled_files(Path(word), Path(folder)) if word in own else word for word in command)
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
            said = (masked(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else "") + said
            why = reason(said, source) or f"'{masked(' '.join(command))}' failed. Read its error in the lines above."
            print(f"labdock: {why}", file=sys.stderr)
    return running.returncode


if __name__ == "__main__":
    sys.exit(run_and_explain(*sys.argv[1:]))
