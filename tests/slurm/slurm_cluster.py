"""A SLURM cluster of real daemons on one machine, in a folder of its own.

munged, MariaDB, slurmdbd, slurmctld and four slurmd: the CPU nodes c1 and c2, and g1 with four GPUs that are device
nodes of its own, alone in partition gpu. g2 is such a node, too, and together with g1 in partition gpus. The
cluster listens on free ports of 127.0.0.1, touches nothing outside its folder, and is stopped by the
process ids it noted.

    python tests/slurm/slurm_cluster.py up --root build/slurm
    . build/slurm/activate
    sinfo
    python tests/slurm/slurm_cluster.py down --root build/slurm

It needs root (for device nodes and job credentials) and Debian's packages
`slurmd slurmctld slurm-client munge slurmdbd mariadb-server`.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from slurm_files import NODES, find_missing, find_program, write_files
from slurm_processes import (
    die_with_parent,
    is_alive,
    list_job_processes,
    list_steps,
    list_tree,
    send_signal,
    wait_until,
)

DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", *NODES)
ACCOUNT = "study"


class Cluster:
    """One test cluster in the folder `root`.

    With `tied` its daemons end with the process that started them, however that ends.
    """

    def __init__(self, root: Path, *, tied: bool = False) -> None:
        self.root = root.resolve()
        self._tied = tied
        self._pids = self.root / "run" / "pids.json"

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which SLURM's commands speak to this cluster."""
        return {
            **os.environ,
            "SLURM_CONF": str(self.root / "etc" / "slurm.conf"),
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}:/usr/sbin",
        }

    def start(self) -> None:
        """Start all daemons and wait until every node is idle."""
        if reason := find_missing():
            raise SystemExit(f"cannot start: {reason}")
        if running := [name for name, pid in self._read_pids().items() if is_alive(pid)]:
            raise SystemExit(f"{self.root}: a cluster runs here already ({', '.join(running)}); `down` stops it")
        if self.root.exists():
            shutil.rmtree(self.root)
        write_files(self.root)
        for name in DAEMONS:
            self.start_daemon(name)
            if name == "mariadbd":
                self._wait(lambda: (self.root / "run" / "mysql.socket").is_socket(), "MariaDB's socket")
            if name == "munged":
                self._wait(lambda: (self.root / "run" / "munge.socket").is_socket(), "munge's socket")
            if name == "slurmdbd":
                self._wait(lambda: self.call("sacctmgr", "-n", "list", "cluster", check=False) is not None, "slurmdbd")
                self.call("sacctmgr", "-i", "add", "cluster", "guidegen")
                self.call("sacctmgr", "-i", "add", "account", ACCOUNT, "Cluster=guidegen")
                self.call("sacctmgr", "-i", "add", "user", "root", f"Account={ACCOUNT}", f"DefaultAccount={ACCOUNT}")
        self.wait_idle()

    def stop(self) -> None:
        """Cancel all jobs and stop the daemons, last started first."""
        pids = self._read_pids()
        if is_alive(pids.get("slurmctld", 0)):
            self.call("scancel", "--user", "root", check=False)
            self._wait(lambda: not self.call("squeue", "-h", check=False), "an empty queue", seconds=20, fatal=False)
        for name in reversed(DAEMONS):
            self.stop_daemon(name)
        for pid in (*list_steps(self.root), *list_job_processes(self.root)):
            send_signal(pid, signal.SIGKILL)

    def start_daemon(self, name: str) -> None:
        """Start one daemon in a session of its own; slurmctld takes up the jobs it knew."""
        run, log = self.root / "run", self.root / "log"
        commands = {
            "munged": [
                "munged", "--foreground", "--force", f"--key-file={self.root}/munge/key",
                f"--socket={run}/munge.socket", f"--pid-file={run}/munged.pid", f"--log-file={log}/munged.log",
                f"--seed-file={self.root}/munge/seed",
            ],
            "mariadbd": [
                "mariadbd", "--no-defaults", "--user=root", f"--datadir={self.root}/mysql",
                f"--socket={run}/mysql.socket", f"--pid-file={run}/mysql.pid", "--skip-networking",
                "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M",
            ],
            "slurmdbd": ["slurmdbd", "-D"],
            "slurmctld": ["slurmctld", "-D"],
            **{node: ["slurmd", "-D", "-N", node] for node in NODES},
        }  # fmt: skip
        command = commands[name]
        program = find_program(command[0])
        assert program, command[0]
        with (log / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(
                [program, *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.root,
                start_new_session=True,
                preexec_fn=die_with_parent if self._tied else None,
                env={**self.environment, "MYSQL_UNIX_PORT": f"{run}/mysql.socket"},
            )
        self._pids.write_text(json.dumps({**self._read_pids(), name: process.pid}))

    def stop_daemon(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop one daemon by its process id; SIGKILL is what a dying node looks like."""
        pid = self.get_pid(name)
        send_signal(pid, how)
        if not wait_until(lambda: not is_alive(pid), 15):
            send_signal(pid, signal.SIGKILL)
            wait_until(lambda: not is_alive(pid), 5)

    def kill_node(self, node: str) -> None:
        """Kill a node as a power cut does: slurmd and everything that runs on it."""
        self.stop_daemon(node, signal.SIGKILL)
        for pid in list_steps(self.root, node):
            for child in list_tree(pid):
                send_signal(child, signal.SIGKILL)

    def wait_idle(self) -> None:
        """Wait until slurmctld answers and all nodes are up."""
        self._wait(
            lambda: (
                set((self.call("sinfo", "-h", "-N", "-o", "%N %T", check=False) or "").splitlines())
                == {f"{node} idle" for node in NODES}
            ),
            "idle nodes",
        )

    def get_pid(self, name: str) -> int:
        """Return the process id of a daemon, 0 where it was never started."""
        return self._read_pids().get(name, 0)

    def call(self, *command: str, check: bool = True) -> str | None:
        """Run one of SLURM's commands; return its output, or None where it failed and `check` is false."""
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
        if check:
            raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
        return None

    def _read_pids(self) -> dict[str, int]:
        return json.loads(self._pids.read_text()) if self._pids.is_file() else {}

    def _wait(self, ready: Callable[[], bool], what: str, seconds: float = 300, fatal: bool = True) -> None:
        if not wait_until(ready, seconds) and fatal:
            raise SystemExit(f"no {what} after {seconds:.0f} s; the daemons' words are in {self.root / 'log'}")


def main() -> None:
    """Command line of the test cluster."""
    parser = argparse.ArgumentParser(description="Start or stop a SLURM cluster of real daemons on this machine.")
    parser.add_argument("action", choices=("up", "down"))
    parser.add_argument("--root", type=Path, default=Path("build/slurm"), help="its folder (default: build/slurm)")
    arguments = parser.parse_args()
    cluster = Cluster(arguments.root)
    if arguments.action == "up":
        start = time.monotonic()
        cluster.start()
        print(cluster.call("sinfo", "-o", "%N %P %T %c CPUs %m MB %G"))
        print(f"up in {time.monotonic() - start:.1f} s; to use it: . {cluster.root / 'activate'}")
    else:
        cluster.stop()
        print(f"{cluster.root}: stopped")


if __name__ == "__main__":
    sys.exit(main())
