"""Runs on file systems of a few kilobytes, and read-only ones: ``unshare -rm`` lets anyone mount.

small_disk.py MODEL MOUNT OUT SIZE...: for each size in KiB, run until the disk is full, go on once
there is room, and copy the run to OUT/SIZE, what was said to OUT/SIZE.*.log; print the exit codes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import fork_server

import covidct


def mount(folder: str, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)


def life(run_dir: str, log: str) -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(fork_server.live(run_dir, log=log))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(model: str, folder: str, out: str, *sizes: str) -> None:
    fork_server.prepare(model)
    run_dir = f"{folder}/run"
    for size in sizes:
        mount(folder, f"size={size}k")
        codes = [life(run_dir, f"{out}/{size}.full.log")]
        mount(folder, "remount,size=64m")
        codes.append(life(run_dir, f"{out}/{size}.room.log"))
        shutil.copytree(run_dir, f"{out}/{size}")
        mount(folder, "remount,ro")
        codes.append(life(run_dir, f"{out}/{size}.read-only.log"))
        assert len(covidct.Predictor.from_run(run_dir).models) == 2  # a finished run can be read
        subprocess.run(["umount", folder], check=True)
        sys.stdout.write(f"{json.dumps([size, codes])}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
