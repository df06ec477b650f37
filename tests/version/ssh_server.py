"""A real OpenSSH server on loopback: each connection to a free port gets its own `sshd -i`."""

import getpass
import os
import shutil
import socketserver
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
RUN = Path("/run/sshd")
"""Where sshd of root separates its privileges."""


def explain_absence() -> str:
    """Say why no server can be started here, "" where one can."""
    if not Path(SSHD).is_file():
        return "no sshd: apt-get install openssh-server"
    if os.geteuid() == 0 and not RUN.is_dir():
        try:
            RUN.mkdir(mode=0o755)
        except OSError as error:
            return f"sshd needs {RUN}: {error}"
    return ""


@dataclass
class Server:
    """A running server; `url` is its address for DVC, without the path."""

    url: str
    listener: socketserver.ThreadingTCPServer

    def stop(self) -> None:
        """Accept no connection any more; a later one is refused."""
        self.listener.shutdown()
        self.listener.server_close()


def start_server(folder: Path, home: Path) -> Server:
    """Start a server that lets the owner of `home` in, and tell `home` its key and that of the server."""
    ssh = home / ".ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    for path in (ssh / "id_ed25519", folder / "host_key"):
        if not path.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    config = folder / "sshd_config"
    config.write_text(
        f"HostKey {folder}/host_key\nAuthorizedKeysFile {ssh}/id_ed25519.pub\nPidFile none\nUsePAM no\nStrictModes no\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    )

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            stream = self.request.fileno()
            command = [SSHD, "-i", "-e", "-f", str(config)]
            with (folder / "sshd.log").open("ab") as log:
                subprocess.run(command, stdin=stream, stdout=stream, stderr=log, check=False)

    listener = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    port = listener.server_address[1]
    key = (folder / "host_key.pub").read_text().split()
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
    return Server(f"ssh://{getpass.getuser()}@127.0.0.1:{port}", listener)
