"""The one exception that a user's mistake raises."""


class UserError(Exception):
    """Bad input: one line that names the key, file or value and says what to do.

    The command line prints it without a traceback.
    """


class ModelError(UserError):
    """A model fails at what is asked of it: it diverges, say, or its text is too short to judge.

    It would again. The fault is the model's alone, so all that does not depend on it goes on.
    """
