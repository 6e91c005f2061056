"""Look at a server's health from a process of its own, which the flood's generator does not hold up.

    python -m loadtests.torture.watch main=8000 health=8001

Asks each port for /healthz and /readyz in turn until its standard input ends, then prints what it saw as JSON.
"""

import json
import sys
import threading
import time

from loadtests.server import status_of

LOOK_EVERY_S = 0.25
ANSWER_BOUND_S = 60.0


def main() -> None:
    ports = {name: int(port) for name, port in (argument.split("=") for argument in sys.argv[1:])}
    latency_s: dict[str, list[float]] = {name: [] for name in ports}
    wrong: list[str] = []
    ended = threading.Event()
    threads = [
        threading.Thread(target=_look, args=(name, port, latency_s[name], wrong, ended)) for name, port in ports.items()
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()  # each looks at least once
    sys.stdout.write(json.dumps({"latency_s": latency_s, "wrong": wrong}))


def _look(name: str, port: int, latency_s: list[float], wrong: list[str], ended: threading.Event) -> None:
    is_over = False
    while not is_over:
        for path in ("/healthz", "/readyz"):
            began = time.perf_counter()
            status = status_of(port, path, ANSWER_BOUND_S)
            latency_s.append(time.perf_counter() - began)
            if status != 200:
                wrong.append(f"{path} of the {name} listener answered {status}")
        is_over = ended.wait(LOOK_EVERY_S)


if __name__ == "__main__":
    main()
