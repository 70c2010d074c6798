"""Runs `python3 -m engine up [VERSION …] | down | settings`."""

import argparse
import sys

import engine
from engine.common import Refused
from engine.stand_in import reference


def main() -> int:
    """Run the command line. Return its exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m engine", description=engine.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="make docker, Compose, buildx and base images available")
    up.add_argument("versions", nargs="*", metavar="VERSION", default=["3.13"])
    commands.add_parser("down", help="stop and remove what `up` started and built")
    commands.add_parser("settings", help="print the .env lines that this machine's network needs")
    asked = parser.parse_args()
    try:
        return {"up": up_, "down": down, "settings": settings}[asked.command](asked)
    except Refused as error:
        print(f"labdock: {error}", file=sys.stderr)
        return 1


def up_(asked: argparse.Namespace) -> int:
    """Start an engine if none answers. Print one line for each base image."""
    states = engine.up(asked.versions)
    for version, state in states.items():
        name = reference(version)
        print(f"ready {name}" if state == "ready" else f"skipped {name}: {state}")
    return 0 if "ready" in states.values() else 1


def down(asked: argparse.Namespace) -> int:
    """Undo what `up` did."""
    print("engine: removed" if engine.down() else "engine: nothing to undo")
    return 0


def settings(asked: argparse.Namespace) -> int:
    """Print this machine's own settings as lines of .env."""
    for name, value in engine.machine.settings().items():
        print(f"{name}={value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
