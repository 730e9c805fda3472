"""What a result was made with: the command line, fit to be shown to others."""

import re
import shlex
import sys
from pathlib import Path


def command_line() -> str:
    """The command line that does the same again, where there was one; without passwords and signatures of addresses."""
    if Path(sys.argv[0]).stem != "sparsecover":
        return ""
    given = [argument for argument in sys.argv[1:] if argument != "--resume"]
    return shlex.join(["sparsecover", *map(without_secrets, given)])


def without_secrets(text: str) -> str:
    """An address without its password and signature; all else as it is.

    >>> without_secrets("https://me:secret@example.org/a.tif?token=abc")
    'https://example.org/a.tif'
    """
    return re.sub(r"(?<=://)[^/@]*@|(?<=\S)\?\S*", "", text) if "://" in text else text
