# The text of compose.pins.yaml.
# shellcheck shell=sh

# pinned IMAGE PACKAGES: the whole file; PACKAGES are lines of NAME=VERSION.
pinned() {
    cat <<EOT
# Which base image and Debian packages the build uses; \`make pin\` writes this file. Commit it.
# Nothing else belongs here: compose.yaml reads this service's build arguments.
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
