# Prints the text of compose.pins.yaml.
# shellcheck shell=sh

# pinned IMAGE PACKAGES [BUILD_PACKAGES]: the whole file. Packages are lines of NAME=VERSION: those of the lab, and those of
# DEBIAN_BUILD_PACKAGES.
pinned() {
    cat <<EOT
# The base image and the versions of Debian packages for every build. \`make pin\` writes this file. Commit this file.
# Do not add other lines: compose.yaml uses only the build arguments of this file.
services:
  pinned:
    build:
      args:
        PYTHON_IMAGE: $1
EOT
    pins DEBIAN_PINS "$2"
    [ -z "${3:-}" ] || pins DEBIAN_BUILD_PINS "$3"
}

# pins NAME PACKAGES: the lines of one build argument.
pins() {
    if [ -z "$2" ]; then
        echo "        $1: \"\""
    else
        echo "        $1: >-"
        printf '%s\n' "$2" | sed 's/^/          /'
    fi
}
