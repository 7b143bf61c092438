"""Whether a folder lies on a disk of this machine: SQLite's write-ahead log needs memory that all its readers share."""

from __future__ import annotations

from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")
_NETWORK = (
    "9p", "afs", "beegfs", "ceph", "cifs", "cvmfs", "fhgfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "ocfs2", "orangefs", "pvfs2", "smb3", "smbfs", "virtiofs", "wekafs",
)  # fmt: skip
_LOCAL_FUSE = ("fuseblk", "fuse.fuse-overlayfs")


def is_on_network(folder: Path, mounts: str | None = None) -> bool:
    """Whether the folder's file system is one of a network, as `/proc/self/mounts` (or the given text) names it.

    Where the system does not tell, it is taken for local.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text()
        except OSError:
            return False
    kind, longest = "", -1
    path = folder.resolve()
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(_unescaped(fields[1]))
        # Of two at the same place, the later one is on top.
        if path.is_relative_to(point) and len(point.parts) >= longest:
            kind, longest = fields[2], len(point.parts)
    return kind in _NETWORK or (kind.startswith("fuse") and kind not in _LOCAL_FUSE)


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
