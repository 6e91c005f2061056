#!/bin/sh
# Makes ./secrets, once: what compose.yaml and deploy/compose.scale.yaml hand to their containers.
#
# Containers run as users of their own, and Compose mounts these files as they are: everybody may read them, in a folder
# that nobody but its owner may enter. The master key of the vault is not among them; it never leaves its volume.
set -eu
cd "$(dirname "$0")/.."
if [ -e secrets ]; then
    echo "There is a folder secrets; remove it to make new ones, which open no database that was made with the old." >&2
    exit 1
fi
umask 077
mkdir secrets
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
password=$(random)
random > secrets/api_key
printf %s "$password" > secrets/postgres_password
printf 'postgresql://matchka:%s@database/matchka' "$password" > secrets/database_url
printf 'postgresql://matchka:%s@key-database/matchka' "$password" > secrets/key_database_url
chmod 644 secrets/*
echo "made: secrets/"
