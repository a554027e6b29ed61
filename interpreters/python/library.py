"""The standard library as scripts have it. A component has no files of its own: what is imported when it is built is in
it, and nothing else."""

import importlib

MODULES = """
abc argparse array base64 binascii bisect builtins bz2 calendar cmath codecs collections collections.abc configparser
contextlib copy csv dataclasses datetime decimal difflib encodings.ascii encodings.cp1252 encodings.cp437 encodings.idna
encodings.latin_1 encodings.utf_16 encodings.utf_32 encodings.utf_8_sig enum errno filecmp fnmatch fractions functools gc
getopt glob graphlib gzip hashlib heapq hmac html html.parser importlib inspect io ipaddress itertools json keyword
linecache locale logging lzma math mimetypes numbers operator os os.path pathlib platform posixpath pprint queue random re
reprlib sched secrets shlex shutil signal stat statistics string struct sys tarfile tempfile textwrap threading time timeit
tomllib traceback types typing unicodedata urllib urllib.parse uuid warnings weakref xml.etree.ElementTree
xml.sax.saxutils zipfile zlib
"""


def load():
    """Those that this Python can have; the others are not named."""
    there = set()
    for name in MODULES.split():
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        there.add(name.partition(".")[0])
    return there


NAMES = load()
