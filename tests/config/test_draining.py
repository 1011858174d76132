"""The web server as the stack starts it lets the requests under way end before it goes."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from config.stack import free_port, web_command
from tests.servers import ROOT

WITHIN = 60.0


def until(condition) -> None:
    end = time.monotonic() + WITHIN
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it did not happen in time")
        time.sleep(0.02)


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_a_server_that_is_told_to_stop_answers_what_it_has_begun(tmp_path):
    port = free_port("127.0.0.1", 8910)
    command = web_command("127.0.0.1", port, workers=1, threads=4)
    command[-1] = "tests.config.slow_app:application"
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "SLOW_APP": str(tmp_path)})
    try:
        until(lambda: listens(port))
        with ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(httpx.get, f"http://127.0.0.1:{port}/", timeout=WITHIN) for _ in range(3)]
            until(lambda: len(list(tmp_path.glob("begun-*"))) == 3)
            process.terminate()
            until(lambda: not listens(port))  # nobody new comes in
            (tmp_path / "end").touch()
            assert [a.result().text for a in asked] == ["done"] * 3
        process.wait(WITHIN)
    finally:
        process.kill()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True
