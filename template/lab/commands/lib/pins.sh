# Prints the text of compose.pins.yaml.
# shellcheck shell=sh

# pinned IMAGE PACKAGES [BUILD_PACKAGES]: print the whole file. PACKAGES are the packages of the lab, as lines of NAME=VERSION.
# BUILD_PACKAGES are the packages in DEBIAN_BUILD_PACKAGES, in the same form.
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

# pins NAME PACKAGES: print the lines of one build argument.
pins() {
    if [ -z "$2" ]; then
        echo "        $1: \"\""
    else
        echo "        $1: >-"
        printf '%s\n' "$2" | sed 's/^/          /'
    fi
}
