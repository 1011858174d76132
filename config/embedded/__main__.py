"""`python -m config.embedded [start|stop|status|reset]`: the embedded servers by hand."""

import argparse
import sys

from config import embedded


def main() -> int:
    """Do one thing and show the servers as they are then; 1 and one sentence where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m config.embedded", description="The embedded PostgreSQL and Redis.")
    parser.add_argument("action", nargs="?", default="status", choices=["start", "stop", "status", "reset"])
    action = parser.parse_args().action
    try:
        if action != "status":
            {"start": embedded.start, "stop": embedded.stop, "reset": embedded.reset}[action]()
        shown = [_line(server) for server in embedded.status()]
    except embedded.ServerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("\n".join(shown) + "\n")
    return 0


def _line(server: embedded.Status) -> str:
    state = f"running (process {server.pid})" if server.pid else "stopped"
    return f"{server.name:<10} {state:<24} {server.address}  data {server.data}  log {server.log}"


if __name__ == "__main__":
    sys.exit(main())
