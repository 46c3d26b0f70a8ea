"""A process that has imported all there is to import, and forks a run whenever it is told to.

fork_server.py MODEL: the fields of the network "tiny" as JSON.

It reads lines of JSON: ["start", RUN_DIR, OPTION...] answers the process id of a new run,
["wait", PID] its exit code.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import partial

import covidct
from covidct import cli
from covidct.runs import cross_validator, fold  # noqa: F401 - what a run imports, imported once
from covidct.training.checkpoint import CheckpointStore
from covidct.training.trainer import Trainer

ARGUMENTS = (
    "train --dataset phantom --n 24 --model tiny --weights none --protocol grouped --folds 2 "
    "--recipe demo --epochs 4 --threads 1 --device cpu --run-dir"
)


def noted(job, *rest, fit=fold._fit_and_score):
    """Say in the log that a fold is begun, or gone on with."""
    sys.stdout.write(f"fit {job.number}\n")
    sys.stdout.flush()
    fit(job, *rest)


def unhurried(store, state, save=CheckpointStore.save):
    """Wait after a checkpoint: so small a network would be trained before a test has seen it."""
    save(store, state)
    time.sleep(0.05)


def live(run_dir: str, *options: str, log: str) -> int:
    """Do the run in this process; what it says goes into a file.

    Who starts the tests in the background may have had SIGINT ignored, which processes inherit.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    code = cli.main([*ARGUMENTS.split(), run_dir, *options])
    sys.stdout.flush()
    return code


def prepare(model: str) -> None:
    """Register the network of the tests, and let a kill hit any epoch of a fold."""
    covidct.register_model(covidct.ArchitectureInfo(**json.loads(model)))
    fold._fit_and_score = noted
    CheckpointStore.save = unhurried
    fold.Trainer = partial(Trainer, checkpoint_every=0.0)


def main() -> None:
    prepare(sys.argv[1])
    for line in sys.stdin:
        verb, argument, *options = json.loads(line)
        if verb == "wait":
            answer = os.waitstatus_to_exitcode(os.waitpid(argument, 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                os._exit(live(argument, *options, log=f"{argument}.{os.getpid()}.log"))
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
