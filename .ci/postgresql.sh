#!/bin/sh
# Installs Debian's PostgreSQL server for the tests where there is none, as root and with apt; goes on where that fails.
set -u
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && exit 0
command -v initdb >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    if { apt-get -qq update && apt-get -qq install --yes --no-install-recommends postgresql; } >/dev/null 2>&1; then
        exit 0
    fi
fi
echo "NOT TESTED on PostgreSQL: its server is not installed, and could not be." >&2
