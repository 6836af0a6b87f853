"""Makes the namespaces of a twin: users, mounts, networks, with the settings that faults depend on."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from clusters.errors import SetupError
from clusters.netns import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, setns, unshare

_CAP_SYS_ADMIN: Final = 21  # linux/capability.h
_MS_REC: Final = 0x4000  # linux/mount.h
_MS_SLAVE: Final = 0x80000

_libc = ctypes.CDLL(None, use_errno=True)

_NO_IPV6: Final = {
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
}
_PLAIN: Final = {
    **_NO_IPV6,
    "net/ipv4/ip_forward": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}
UNDERLAY_SETTINGS: Final[Mapping[str, str]] = {
    **_PLAIN,
    "net/bridge/bridge-nf-call-iptables": "0",
}
POD_SETTINGS: Final[Mapping[str, str]] = _PLAIN


def node_settings(rp_filter: int) -> Mapping[str, str]:
    """The sysctls of a node: forwarding, bridged packets through iptables, reverse path filter as asked.

    The filter in force on a device is the larger of its own and that of `all` (ip-sysctl.rst).
    """
    return {
        **_NO_IPV6,
        "net/ipv4/ip_forward": "1",
        "net/ipv4/conf/all/rp_filter": str(rp_filter),
        "net/ipv4/conf/default/rp_filter": str(rp_filter),
        "net/bridge/bridge-nf-call-iptables": "1",
    }


def needs_user_namespace() -> bool:
    """Whether this process may not make network namespaces by itself."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return not int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1
    return True


def enter_private(*, user: bool) -> None:
    """Move this single-threaded process into new mount and network namespaces, and a user namespace where asked.

    Afterwards nothing mounted here is seen outside, what is unmounted outside is let go here, and /run is empty.
    Raises SetupError.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        if user:
            unshare(CLONE_NEWUSER)
            _map_root(uid, gid)
        unshare(CLONE_NEWNS | CLONE_NEWNET)
        _mount(None, "/", None, _MS_REC | _MS_SLAVE)
        _mount_run()
    except OSError as exc:
        raise SetupError(_refusal(exc, user=user)) from exc


def new_network(settings: Mapping[str, str]) -> int:
    """Make a network namespace and stay in it; a descriptor of it. Raises OSError, SetupError."""
    unshare(CLONE_NEWNET)
    configure(settings)
    return here(CLONE_NEWNET)


def new_mounts(base_fd: int, files: Mapping[str, str]) -> int:
    """Make a mount namespace with its own /run holding these files; back in `base_fd`, a descriptor of it."""
    unshare(CLONE_NEWNS)
    try:
        _mount_run()
        for name, content in files.items():
            path = Path("/run", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return here(CLONE_NEWNS)
    finally:
        setns(base_fd, CLONE_NEWNS)


def here(kind: int) -> int:
    """A descriptor of the calling thread's namespace of that kind."""
    name = {CLONE_NEWNET: "net", CLONE_NEWNS: "mnt"}[kind]
    return os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)


def configure(settings: Mapping[str, str]) -> None:
    """Write sysctls of the network namespace the thread is in. Raises SetupError naming the one that failed."""
    for key, value in settings.items():
        try:
            fd = os.open(f"/proc/sys/{key}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, value.encode())
            finally:
                os.close(fd)
        except OSError as exc:
            if exc.errno == errno.ENOENT and "ipv6" in key:
                continue  # a kernel without IPv6 has nothing to switch off
            raise SetupError(f"sysctl {key}={value}: {exc.strerror}{_fix(key, exc)}") from exc


def _fix(key: str, exc: OSError) -> str:
    if "bridge" in key and exc.errno == errno.ENOENT:
        return " (fix: modprobe br_netfilter)"
    if exc.errno == errno.EROFS:
        return " (fix: give the container a writable /proc/sys, as --privileged does)"
    return ""


def _map_root(uid: int, gid: int) -> None:
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _refusal(exc: OSError, *, user: bool) -> str:
    if not user:
        return f"cannot make network and mount namespaces: {exc.strerror}"
    if exc.errno == errno.ENOSPC:
        return (
            "no user namespace left (fix: raise /proc/sys/user/max_user_namespaces, or run as root)"
        )
    return (
        f"user namespaces are forbidden here ({exc.strerror}); fix: run as root, or allow them:"
        " sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
    )


def _mount_run() -> None:
    _mount("tmpfs", "/run", "tmpfs", 0, "mode=755")


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    words = (source, target, kind)
    if _libc.mount(
        *(word and word.encode() for word in words), flags, options and options.encode()
    ):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)
