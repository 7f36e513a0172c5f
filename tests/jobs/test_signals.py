"""Real signals to real processes."""

import signal
import subprocess
import sys

import pytest

STARTS_A_PROCESS = """
import subprocess, threading, time
from jobs.signals import Signals

signals = Signals()
signals.listen()

def start():
    time.sleep(0.1)  # until the main thread waits
    print("starting", flush=True)
    subprocess.run(["true"])

threading.Thread(target=start).start()
print(signals.take())
"""


@pytest.mark.parametrize("attempt", range(10))  # without care, about every third is lost
def test_a_signal_that_comes_while_another_thread_starts_a_process_is_not_lost(attempt):
    command = [sys.executable, "-c", STARTS_A_PROCESS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "starting\n"
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=10)
            assert (process.returncode, output) == (0, f"{int(signal.SIGTERM)}\n")
        finally:
            process.kill()
