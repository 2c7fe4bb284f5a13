"""Folders that nobody else may write to: what is in them is trusted."""

import errno
import grp
import os
import pwd
import stat
from pathlib import Path

from corec.errors import StorageError

#: Rights of new folders and files of a node.
FOLDER_MODE, FILE_MODE = 0o700, 0o600


def make_private(path: Path) -> None:
    """Make a folder that its user alone may enter, where there is none; StorageError where others may write to the one that there is."""
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    require_private(path)


def require_private(path: Path) -> None:
    """StorageError where *path* is a link, belongs to another user, or may be written by one.

    Root's folders are taken, and root takes those of others. What is mounted at *path* belongs to whoever set that up.
    """
    found = os.lstat(path)
    kind = "folder" if path.is_dir() else "file"
    if stat.S_ISLNK(found.st_mode):
        raise StorageError(f"expected a {kind}, got a symbolic link - at {path}", hint=f"name the {kind} itself: {os.path.realpath(path)}")
    if os.path.ismount(path):
        return
    user = os.geteuid()
    if found.st_uid not in (user, 0) and user:
        raise StorageError(f"expected a {kind} of this user, got one of {_user(found.st_uid)} - at {path}",
                           hint=f"chown -R {_user(user)} {path}, or use another {kind}")  # fmt: skip
    if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid)):
        raise StorageError(f"expected a {kind} that no other user may write to, got mode {stat.S_IMODE(found.st_mode):o} - at {path}",
                           hint=f"chmod go-w {path}, after a look at what is in it")  # fmt: skip


def open_private(path: Path, flags: int) -> int:
    """Open a file of a node, made where there is none; StorageError where it is a link."""
    try:
        return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise StorageError(f"expected a file, got a symbolic link - at {path}", hint="remove it, after a look at where it leads") from error


def _is_own_group(group: int) -> bool:
    """Whether nobody but this user, or root, is in a group: many systems give each user one."""
    try:
        me, members = pwd.getpwuid(os.geteuid()), grp.getgrgid(group).gr_mem
    except KeyError:
        return group == 0 and os.geteuid() == 0
    others = [each.pw_name for each in pwd.getpwall() if each.pw_gid == group and each.pw_uid not in (me.pw_uid, 0)]
    return (group == me.pw_gid or group == 0) and not others and set(members) <= {me.pw_name, "root"}


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
