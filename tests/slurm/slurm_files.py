"""The files of the test cluster: configuration, keys, device nodes, an empty database; and the programs it needs."""

import os
import secrets
import shutil
import socket
import stat
import subprocess
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
    packages = sorted({package for program, package in PROGRAMS.items() if find_program(program) is None})
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


def find_program(name: str) -> str | None:
    """Return the path of a program, also of one that only root has in its path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin")


def write_files(root: Path) -> None:
    """Write the configuration, keys, device nodes and the empty database of a cluster in the new folder `root`."""
    for folder in ("etc", "run", "log", "state", "dev", "munge", "bin", "mysql", *(f"spool/{n}" for n in NODES)):
        (root / folder).mkdir(parents=True)
    root.chmod(0o755)
    (root / "munge").chmod(0o700)
    key = root / "munge" / "key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    for number in range(4):
        os.mknod(root / "dev" / f"nvidia{number}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    host = socket.gethostname().split(".")[0]
    values = {"root": root, "host": host, "ports": _find_ports("slurmctld", "slurmdbd", *NODES)}
    etc = root / "etc"
    (etc / "slurm.conf").write_text(SLURM_CONF.format(**values))
    (etc / "gres.conf").write_text(GRES_CONF.format(**values))
    (etc / "cgroup.conf").write_text("CgroupPlugin=autodetect\n")
    (etc / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(**values))
    (etc / "slurmdbd.conf").chmod(0o600)
    # The jobstep plugin removes every SLURM_* variable, SLURM_CONF too, before it calls srun.
    shim = root / "bin" / "srun"
    shim.write_text(f'#!/bin/sh\nSLURM_CONF={etc}/slurm.conf exec {find_program("srun")} "$@"\n')
    shim.chmod(0o755)
    (root / "activate").write_text(f"export SLURM_CONF={etc}/slurm.conf\nexport PATH={root}/bin:$PATH:/usr/sbin\n")
    install = [str(find_program("mariadb-install-db")), "--no-defaults", "--user=root"]
    install += [f"--datadir={root}/mysql", "--auth-root-authentication-method=normal", "--skip-test-db"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(install)}: exit {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")


def _find_ports(*names: str) -> dict[str, int]:
    sockets = [socket.socket() for _ in names]
    for entry in sockets:
        entry.bind(("127.0.0.1", 0))
    ports = [entry.getsockname()[1] for entry in sockets]
    for entry in sockets:
        entry.close()
    return dict(zip(names, ports, strict=True))
