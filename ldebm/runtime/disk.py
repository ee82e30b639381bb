"""A disk that is full, or a folder that cannot be written: told in one line."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ldebm.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


class FullError(OSError):
    """A file for which there is no space.

    Args:
        path: the file.
        needed: its size in bytes.
    """

    def __init__(self, path: Path, needed: int) -> None:
        super().__init__(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        self.needed = needed


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Where the block fails to write: one line that names the folder, and the space if it is that.

    Args:
        folder: named where the error does not say which file it was.

    Raises:
        UserError: the disk is full, or a folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (*FULL, *REFUSED):
            raise
        file = error.filename2 or error.filename
        if file is not None and Path(os.fsdecode(file)).is_file() and not os.access(file, os.R_OK):
            problem = f"{os.fsdecode(file)}: cannot be read ({error.strerror}); make it readable"
            raise UserError(problem) from error
        place = folder if file is None else Path(os.fsdecode(file)).parent
        problem = f"{place}: {_problem(place, error)}, and the same command goes on"
        raise UserError(problem) from error


def system_error(error: Exception, path: Path, size: int) -> OSError | None:
    """The fault of the system that an error of a library has in its text, if it has one.

    Args:
        path: the file that was to be written.
        size: how large it is, in bytes.
    """
    found = re.search(r"\(os error (\d+)\)", str(error))
    if found is None:
        return None
    number = int(found[1])
    full = number in FULL
    return FullError(path, size) if full else OSError(number, os.strerror(number), str(path))


def _problem(place: Path, error: OSError) -> str:
    if error.errno not in FULL:
        return f"cannot be written ({error.strerror}); make it writable"
    free = shutil.disk_usage(next(one for one in (place, *place.parents) if one.exists())).free
    needed = getattr(error, "needed", None)
    most = f"{_size(needed)} needed" if needed else f"more than {_size(free)} needed"
    return f"the disk is full, {most}, {_size(free)} free; make room"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
