"""The first line of an exception's message, for an error that quotes another one."""


def first_line(error: BaseException) -> str:
    """An exception as one line: the name of its type and the first line of its message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
