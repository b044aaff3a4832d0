"""What a person did that the program cannot go on with."""


class InputError(ValueError):
    """Wrong input from outside: a flag, a file, a folder, a mirror.

    The message is one line that says what is wrong, where, and what to do next; commands print it and
    exit with code 2.
    """
