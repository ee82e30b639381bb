"""The one exception that a user's mistake raises, and one line of any text."""


class UserError(Exception):
    """Bad input: one line that names the key, file or value and says what to do.

    The command line prints it without a traceback.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class ModelError(UserError):
    """A model fails at what is asked of it: it diverges, say, or its text is too short to judge.

    It would again. The fault is the model's alone, so all that does not depend on it goes on.
    """


def one_line(text: str) -> str:
    """A text in which line ends and all else that cannot be printed is escaped."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def of_memory(error: Exception) -> str | None:
    """In one line, that NumPy or torch asked for more memory than there is or can be counted.

    None of any other error.
    """
    signs = ("out of memory", "can't allocate memory", "calculation overflowed")
    if not isinstance(error, MemoryError) and not any(sign in str(error) for sign in signs):
        return None
    reason = one_line(str(error))[:200]
    return f"not enough memory ({reason}); lower the batch or the sizes of the parameters"


def of_system(error: OSError) -> str:
    """What the operating system refused, in one line."""
    names = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    reason = error.strerror or str(error) or type(error).__name__
    return one_line(f"{names}: {reason}" if names else reason)
