#!/bin/sh
# Starts a server of its own and loads it: sh loadtests/run.sh .venv/bin
# USERS=16 DURATION=60s PORT=8009; report in build/load/
set -eu
bin=$1
users=${USERS:-16}
port=${PORT:-8009}
out=build/load
rm -rf "$out/data"
mkdir -p "$out"
"$bin/matchka" wait --timeout 0 --url "http://127.0.0.1:$port" 2>/dev/null && { echo "port $port is taken; choose another with PORT="; exit 1; }
MATCHKA_DATA_DIR=$out/data "$bin/matchka" serve --port "$port" >"$out/server.log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null || true' EXIT
"$bin/matchka" wait --timeout 120 --url "http://127.0.0.1:$port"
"$bin/locust" --locustfile loadtests/locustfile.py --headless --host "http://127.0.0.1:$port" \
    --users "$users" --spawn-rate "$users" --run-time "${DURATION:-60s}" --stop-timeout 10 \
    --html "$out/report.html" --csv "$out/report" --only-summary
grep -E '^(VmHWM|VmRSS)' "/proc/$server/status" 2>/dev/null || true
echo "report: $out/report.html"
