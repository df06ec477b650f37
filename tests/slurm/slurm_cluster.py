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
import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = {
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "slurmdbd": "slurmdbd",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
}
NODES = ("c1", "c2", "g1", "g2")
DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", *NODES)
ACCOUNT = "study"
PR_SET_PDEATHSIG = 1
"""From Linux's sys/prctl.h: the signal that a process gets when its parent ends."""

SLURM_CONF = """\
ClusterName=guidegen
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[slurmctld]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/run/munge.socket
MailProg=/bin/true
MpiDefault=none
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
SlurmdParameters=config_overrides
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=5,bf_interval=5
ReturnToService=2
MinJobAge=86400
JobRequeue=0
KillWait=3
OverTimeLimit=0
SlurmctldTimeout=30
SlurmdTimeout=30
MessageTimeout=10
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[slurmdbd]}
AccountingStoragePass={root}/run/munge.socket
AccountingStoreFlags=job_comment
AccountingStorageTRES=gres/gpu
NodeName=c1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[c1]} CPUs=16 RealMemory=64000
NodeName=c2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[c2]} CPUs=16 RealMemory=64000
NodeName=g1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[g1]} CPUs=16 RealMemory=128000 Gres=gpu:h200:4
NodeName=g2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[g2]} CPUs=16 RealMemory=128000 Gres=gpu:h200:4
PartitionName=cpu Nodes=c1,c2 Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=g1 MaxTime=INFINITE State=UP
PartitionName=gpus Nodes=g1,g2 MaxTime=INFINITE State=UP
"""
SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={root}/run/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={ports[slurmdbd]}
SlurmUser=root
LogFile={root}/log/slurmdbd.log
PidFile={root}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
"""
GRES_CONF = "AutoDetect=off\nNodeName=g[1-2] Name=gpu Type=h200 File={root}/dev/nvidia[0-3] Flags=nvidia_gpu_env\n"


def find_missing() -> str:
    """Return what this machine lacks for the cluster and how to get it, "" where nothing is missing."""
    packages = sorted({package for program, package in PROGRAMS.items() if _find_program(program) is None})
    if packages:
        return (
            f"the SLURM test cluster needs Debian's packages {' '.join(packages)}: "
            f"apt-get install --no-install-recommends {' '.join(packages)}"
        )
    if os.geteuid() != 0:
        return (
            "the SLURM test cluster needs root: it makes device nodes and starts slurmd; run it in a container as root"
        )
    return ""


def _find_program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin")


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
        if running := [name for name, pid in self._read_pids().items() if _is_alive(pid)]:
            raise SystemExit(f"{self.root}: a cluster runs here already ({', '.join(running)}); `down` stops it")
        if self.root.exists():
            shutil.rmtree(self.root)
        self._write_files()
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
        if _is_alive(pids.get("slurmctld", 0)):
            self.call("scancel", "--user", "root", check=False)
            self._wait(lambda: not self.call("squeue", "-h", check=False), "an empty queue", seconds=20, fatal=False)
        for name in reversed(DAEMONS):
            self.stop_daemon(name)
        for pid in (*self._list_steps(), *self._list_job_processes()):
            _signal(pid, signal.SIGKILL)

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
        program = _find_program(command[0])
        assert program, command[0]
        with (log / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(
                [program, *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.root,
                start_new_session=True,
                preexec_fn=_die_with_parent if self._tied else None,
                env={**self.environment, "MYSQL_UNIX_PORT": f"{run}/mysql.socket"},
            )
        self._pids.write_text(json.dumps({**self._read_pids(), name: process.pid}))

    def stop_daemon(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop one daemon by its process id; SIGKILL is what a dying node looks like."""
        pid = self.get_pid(name)
        _signal(pid, how)
        if not _wait_until(lambda: not _is_alive(pid), 15):
            _signal(pid, signal.SIGKILL)
            _wait_until(lambda: not _is_alive(pid), 5)

    def kill_node(self, node: str) -> None:
        """Kill a node as a power cut does: slurmd and everything that runs on it."""
        self.stop_daemon(node, signal.SIGKILL)
        for pid in self._list_steps(node):
            for child in _list_tree(pid):
                _signal(child, signal.SIGKILL)

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

    def _list_steps(self, node: str = "*") -> list[int]:
        """Process ids of the job steps on a node; slurmstepd has a socket `<node>_<job>.<step>` in its spool."""
        jobs = {path.name.split("_")[1].split(".")[0] for path in (self.root / "spool").glob(f"{node}/{node}_*.*")}
        titles = tuple(f"slurmstepd: [{job}." for job in jobs)
        marker = f"SLURM_CONF={self.root}/etc/slurm.conf".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                title = (folder / "cmdline").read_bytes().decode(errors="replace")
                ours = title.startswith(titles) and marker in (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if ours:
                found.append(int(folder.name))
        return found

    def _list_job_processes(self) -> list[int]:
        """Process ids of what jobs of this cluster started and left behind."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                variables = path.read_bytes().split(b"\0")
            except OSError:
                continue
            ours = any(value.startswith(f"PATH={self.root}/bin:".encode()) for value in variables)
            if ours and any(value.startswith(b"SLURM_JOB_ID=") for value in variables):
                found.append(int(path.parent.name))
        return found

    def _write_files(self) -> None:
        for folder in ("etc", "run", "log", "state", "dev", "munge", "bin", "mysql", *(f"spool/{n}" for n in NODES)):
            (self.root / folder).mkdir(parents=True)
        self.root.chmod(0o755)
        (self.root / "munge").chmod(0o700)
        key = self.root / "munge" / "key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        for number in range(4):
            os.mknod(self.root / "dev" / f"nvidia{number}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        host = socket.gethostname().split(".")[0]
        values = {"root": self.root, "host": host, "ports": _find_ports("slurmctld", "slurmdbd", *NODES)}
        etc = self.root / "etc"
        (etc / "slurm.conf").write_text(SLURM_CONF.format(**values))
        (etc / "gres.conf").write_text(GRES_CONF.format(**values))
        (etc / "cgroup.conf").write_text("CgroupPlugin=autodetect\n")
        (etc / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(**values))
        (etc / "slurmdbd.conf").chmod(0o600)
        # The jobstep plugin removes every SLURM_* variable, SLURM_CONF too, before it calls srun.
        shim = self.root / "bin" / "srun"
        shim.write_text(f'#!/bin/sh\nSLURM_CONF={etc}/slurm.conf exec {_find_program("srun")} "$@"\n')
        shim.chmod(0o755)
        (self.root / "activate").write_text(
            f"export SLURM_CONF={etc}/slurm.conf\nexport PATH={self.root}/bin:$PATH:/usr/sbin\n"
        )
        install = [str(_find_program("mariadb-install-db")), "--no-defaults", "--user=root"]
        install += [f"--datadir={self.root}/mysql", "--auth-root-authentication-method=normal", "--skip-test-db"]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(install)}: exit {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")

    def _wait(self, ready: Callable[[], bool], what: str, seconds: float = 300, fatal: bool = True) -> None:
        if not _wait_until(ready, seconds) and fatal:
            raise SystemExit(f"no {what} after {seconds:.0f} s; the daemons' words are in {self.root / 'log'}")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_until(ready: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _find_ports(*names: str) -> dict[str, int]:
    sockets = [socket.socket() for _ in names]
    for entry in sockets:
        entry.bind(("127.0.0.1", 0))
    ports = [entry.getsockname()[1] for entry in sockets]
    for entry in sockets:
        entry.close()
    return dict(zip(names, ports, strict=True))


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return any(program.encode() in title for program in PROGRAMS)


def _list_tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    tree = [pid]
    for parent in tree:
        tree.extend(children.get(parent, []))
    return tree


def _signal(pid: int, how: signal.Signals) -> None:
    if pid > 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)


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
