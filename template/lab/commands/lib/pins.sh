# Prints the text of compose.pins.yaml.
# shellcheck shell=sh

# pinned IMAGE PACKAGES: the whole file; PACKAGES are lines of NAME=VERSION.
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
    if [ -z "$2" ]; then
        echo '        DEBIAN_PINS: ""'
    else
        echo '        DEBIAN_PINS: >-'
        printf '%s\n' "$2" | sed 's/^/          /'
    fi
}
