"""Run the ``train`` command many times: a process each, which has imported it already.

``python train_server.py`` reads a job per line, as JSON: its folder, the file of its
log, and all of its environment variables. It answers each with a line, the exit code. A
job is a fork of this process, in which torch and the rest, seconds to import, are
there; it ends without the clean-up of libraries. What reads its environment while it is
imported is left to the job.
"""

import importlib
import json
import os
import sys
from typing import NoReturn

PRELOADED = (
    "boto3",
    "train",
    "lstm_ad.artifacts",
    "lstm_ad.fitting",
    "lstm_ad.training.loop",
    "lstm_ad.quality.examination",
    "lstm_ad.quality.inspection",
    "lstm_ad.quality.promotion",
    "sagemaker_container.report.page",
)


def run(folder: str, log: str, variables: dict[str, str]) -> NoReturn:
    """Be ``train``: sagemaker-training's command, as its console script calls it."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    sys.argv = ["train"]
    main = importlib.import_module("sagemaker_training.cli.train").main
    code = 1
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stdout.flush()
    # A library's thread is not in the fork: its clean-up would wait for it for ever.
    os._exit(code)


if __name__ == "__main__":
    for name in PRELOADED:
        importlib.import_module(name)
    while line := sys.stdin.readline():
        child = os.fork()
        if not child:
            run(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
