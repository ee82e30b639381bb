"""The one exception that a user's mistake raises."""


class UserError(Exception):
    """Bad input: one line that names the key, file or value and says what to do.

    The command line prints it without a traceback.
    """
