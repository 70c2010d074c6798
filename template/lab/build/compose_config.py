"""Prints build arguments and images of the Compose configuration. It is a program of the stage `packages`.

    docker compose config --format json | compose_config.py QUESTION

Each question prints one item per line:

    arguments SERVICE   NAME=VALUE: the build arguments of SERVICE that are not empty
    built               SERVICE IMAGE: the services that you build yourself, and the image that each build makes
"""

import json
import sys
from typing import Any

OWN = ("prepare", "lab", "packages", "bundle")  # the template's services. A bundle contains the files for their builds


def arguments(config: dict[str, Any], service: str) -> list[str]:
    """The build arguments of `service`."""
    given = config["services"][service]["build"].get("args") or {}
    return [f"{name}={value}" for name, value in given.items() if value]


def built(config: dict[str, Any]) -> list[str]:
    """Your services that have a `build:`."""
    services = {name: service for name, service in config["services"].items() if "build" in service}
    return [
        f"{name} {service.get('image') or config['name'] + '-' + name}"
        for name, service in services.items()
        if name not in OWN
    ]


def main() -> None:
    """The command line."""
    config = json.load(sys.stdin)
    answers = {"arguments": arguments, "built": built}
    for line in answers[sys.argv[1]](config, *sys.argv[2:]):
        print(line)


if __name__ == "__main__":
    main()
