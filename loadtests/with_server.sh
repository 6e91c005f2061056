#!/bin/sh
# Starts a server of its own, runs a command against it, stops it and says how much memory it took:
#   sh loadtests/with_server.sh .venv/bin NAME command …
# The server listens on port 8009; its log and data go to build/NAME/.
set -eu
bin=$1 name=$2
shift 2
port=8009
url=http://127.0.0.1:$port
out=build/$name
rm -rf "$out"
mkdir -p "$out"
if "$bin/matchka" wait --timeout 0 --url "$url" 2>/dev/null; then
    echo "port $port is taken"
    exit 1
fi
MATCHKA_DATA_DIR=$out/data "$bin/matchka" serve --port "$port" >"$out/server.log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null || true' EXIT
started=$(date +%s.%N)
"$bin/matchka" wait --timeout 120 --url "$url"
echo "ready after at most $(echo "$(date +%s.%N) $started" | awk '{printf "%.1f", $1 - $2}') s"
memory() { awk -v when="$1" '/^Vm(RSS|HWM)/ {printf "%s %s: %d MiB\n", when, $1 == "VmRSS:" ? "resident memory" : "its peak", $2 / 1024}' "/proc/$server/status"; }
memory "before,"
status=0
"$@" || status=$?
memory "after,"
exit $status
