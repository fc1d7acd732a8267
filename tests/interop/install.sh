#!/bin/sh
# Installs what the tests with foreign clients need beside the virtual environment: Debian's packages and npm's.
# Needs no standard input and root or sudo; what is there already stays as it is.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
packages="php-cli php-soap mono-devel jaxws default-jdk-headless libaxis-java libgoogle-gson-java
    gsoap libgsoap-dev libjansson-dev g++ libsoap-lite-perl nodejs npm"

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

is_missing() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" != installed ]
}

missing=
for package in $packages; do
    case $package in
        # Node.js and Java may come from elsewhere than Debian.
        nodejs) command -v node >/dev/null && continue ;;
        npm) command -v npm >/dev/null && continue ;;
        default-jdk-headless) command -v javac >/dev/null && continue ;;
    esac
    if is_missing "$package"; then missing="$missing $package"; fi
done
if [ -n "$missing" ]; then
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update --quiet
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends $missing </dev/null
fi

cd "$here/clients/node"
if [ ! -d node_modules ] || [ package.json -nt node_modules ]; then
    npm install --no-package-lock --no-audit --no-fund --silent </dev/null
    touch node_modules
fi
