"""The scripts of `docs/cluster.md`, run by a shell as a scheduler does: its own commands are replaced, ours are not."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cluster.md").read_text()
SHARD = Path("runs/sgd/loss_slicer/slices.shard-1-of-1.sqlite")
CONFIG = 'checkpoints = "sgd/checkpoints"\ngrid = "9"\nstrategy = "loop"\nmodule = "subject.py"\n'
FAKES = {"srun": '#!/bin/bash\nexec "$@"\n', "scontrol": '#!/bin/bash\necho "$@" >> requeued\n'}


def script(section: str, name: str) -> str:
    """The section's block as a file, for one shard in place of sixteen."""
    block = re.search(rf"### {section}\n\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    text = block[1].replace("16", "1")
    Path(name).write_text(text)
    return text


def variables(long_jobs: SimpleNamespace, **more: str) -> dict[str, str]:
    """Of a task of a job array, with the replaced commands first in its path."""
    folder = Path("commands")
    folder.mkdir(exist_ok=True)
    for name, text in FAKES.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    path = os.pathsep.join([str(folder.resolve()), str(Path(long_jobs.COMMAND).parent), os.environ["PATH"]])
    return long_jobs.environment(**more) | {"PATH": path}


def evaluated() -> int:
    """How many tiles the shard has."""
    try:
        connection = sqlite3.connect(f"file:{SHARD}?mode=ro", uri=True)
        return connection.execute("SELECT COUNT(*) FROM tiles").fetchone()[0]
    except sqlite3.Error:
        return 0


def test_a_task_that_is_told_to_stop_is_queued_again_and_its_shard_is_the_same_in_the_end(
    workplace: Path, long_jobs: SimpleNamespace, undisturbed: dict[object, bytes]
) -> None:
    Path("job.toml").write_text(CONFIG)
    assert "#SBATCH --signal=B:USR1@120" in script("SLURM", "slurm.sh")
    task = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_JOB_ID": "77"}
    first = subprocess.Popen(
        ["bash", "slurm.sh"], env=variables(long_jobs, SLOW="0.05", **task), stderr=subprocess.PIPE, text=True
    )
    while first.poll() is None and evaluated() < 6:
        time.sleep(0.02)
    # The scheduler signals the script alone.
    first.send_signal(signal.SIGUSR1)
    _, errors = first.communicate(timeout=300)
    assert first.returncode == 0, errors
    assert "the same command goes on from there" in errors
    assert Path("requeued").read_text() == "requeue 77_1\n"
    kept = evaluated()
    assert kept >= 6
    again = subprocess.run(["bash", "slurm.sh"], env=variables(long_jobs, **task), check=False, stderr=subprocess.PIPE)
    assert again.returncode == 0, again.stderr
    assert Path("requeued").read_text() == "requeue 77_1\n"
    assert evaluated() > kept
    merged = long_jobs.run(name="merge")
    assert merged.returncode == 0, merged.stderr
    assert long_jobs.arrays() == undisturbed


def test_a_task_whose_job_can_not_run_is_not_queued_again(workplace: Path, long_jobs: SimpleNamespace) -> None:
    Path("job.toml").write_text(CONFIG + 'seed = "none"\n')
    script("SLURM", "slurm.sh")
    task = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_JOB_ID": "77"}
    failed = subprocess.run(["bash", "slurm.sh"], env=variables(long_jobs, **task), check=False, capture_output=True)
    assert failed.returncode == 2
    assert not Path("requeued").exists()


def test_the_other_schedulers_indices_name_the_shard(workplace: Path, long_jobs: SimpleNamespace) -> None:
    Path("job.toml").write_text(CONFIG.replace('"9"', '"3"'))
    script("PBS", "pbs.sh")
    pod = re.search(r'command: \["sh", "-c", "(.*)"\]', script("Kubernetes", "job.yaml"))
    assert pod is not None
    starts = {
        "PBS_ARRAY_INDEX": ("1", ["bash", "pbs.sh"]),
        "JOB_COMPLETION_INDEX": ("0", ["sh", "-c", pod[1].replace("/data/", "")]),
    }
    for name, (index, command) in starts.items():
        env = variables(long_jobs, PBS_O_WORKDIR=str(Path.cwd()), **{name: index})
        done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "shard 1 of 1 is done" in done.stderr
