#!/bin/sh
# Installs the programs of Debian that tests use where they are missing, as root and with apt; goes on where that fails.
set -u
missing=
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || missing="$missing chromium"
command -v haproxy >/dev/null 2>&1 || [ -x /usr/sbin/haproxy ] || missing="$missing haproxy"
for program in curl openssl; do command -v $program >/dev/null 2>&1 || missing="$missing $program"; done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    # one word each: $missing is a list
    if { apt-get -qq update && apt-get -qq install --yes --no-install-recommends $missing; } >/dev/null 2>&1; then
        exit 0
    fi
fi
echo "NOT TESTED with$missing: not installed here, and could not be." >&2
