#!/bin/sh
# Starts a server of its own, runs a command against it, stops it and says how much memory it took:
#   sh loadtests/with_server.sh .venv/bin PORT NAME command …
# The server's log and data go to build/NAME/. When the server dies, the command is stopped with it.
set -eu
bin=$1 port=$2 name=$3
shift 3
url=http://127.0.0.1:$port
out=build/$name
server= task=
stop() {
    for process in $task $server; do kill "$process" 2>/dev/null && wait "$process" 2>/dev/null || true; done
}
# Runs a command as long as the server lives; its exit status, or 1 where the server died.
run_beside_server() {
    "$@" &
    task=$!
    while kill -0 "$task" 2>/dev/null; do
        kill -0 "$server" 2>/dev/null || {
            echo "The server has stopped. The end of $out/server.log:" >&2
            tail -n 5 "$out/server.log" >&2
            return 1
        }
        sleep 0.2
    done
    ended=$task task=
    wait "$ended"
}
if "$bin/matchka" wait --timeout 0 --url "$url" 2>/dev/null; then
    echo "A service already answers on port $port; choose another with PORT=" >&2
    exit 1
fi
rm -rf "$out"
mkdir -p "$out"
MATCHKA_DATA_DIR=$out/data "$bin/matchka" serve --port "$port" >"$out/server.log" 2>&1 &
server=$!
trap stop EXIT
trap 'exit 130' INT TERM
started=$(date +%s.%N)
run_beside_server "$bin/matchka" wait --timeout 120 --url "$url"
echo "ready after at most $(echo "$(date +%s.%N) $started" | awk '{printf "%.1f", $1 - $2}') s"
memory() { awk -v when="$1" '/^Vm(RSS|HWM)/ {printf "%s %s: %d MiB\n", when, $1 == "VmRSS:" ? "resident memory" : "its peak", $2 / 1024}' "/proc/$server/status"; }
memory "before,"
status=0
run_beside_server "$@" || status=$?
if kill -0 "$server" 2>/dev/null; then memory "after,"; fi
exit $status
