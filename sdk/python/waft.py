"""The Python binding of a waft task, in one file.

A task reads its parameters with `params()`, prints one JSON object (`result()` does), logs to stderr. What WASI has no
word for are the calls of `waft:task/host` (docs/waft-v1.md), wrapped here. Each raises `Problem` when it was refused or
failed: `code`, `message` and `hint` are the host's.

    class Run(waft.Task):            # what a component exports
        def main(self, params):
            return {"changed": False, "msg": "Hello, " + params["name"]}

In a test on any Python, `Fake` stands for the host.
"""

import base64
import io
import json
import os
import sys
import traceback

try:
    # There once it is a component. What a component has not imported when it is built, it has not.
    from wit_world.imports import exit as _wasi_exit
    from wit_world.imports import host as _host
except ImportError:
    _host = _wasi_exit = None

# A `read` or `write` moves no more at once, bytes.
PART_BYTES_MAX = 32 * 1024
# Exit codes that the tasks shipped with waft agree on.
FAILED, USAGE, REFUSED = 1, 2, 125


class Problem(Exception):
    """Why a call, or a task, came to nothing: a stable code, a sentence, and what to do when that is known."""

    def __init__(self, code, message, hint=None):
        super().__init__(code, message, hint)
        self.code, self.message, self.hint = code, message, hint

    def __str__(self):
        text = self.code + ": " + self.message
        return text if self.hint is None else text + "\nhint: " + self.hint


def fail(message, code="task.failed", hint=None):
    """Ends the task as failed."""
    raise Problem(code, message, hint)


def _called(name, *arguments):
    if _host is None:
        raise Problem("waft.host", "there is no host: this is no target, and no test has put a `Fake` here")
    try:
        return getattr(_host, name)(*arguments)
    except Problem:
        raise
    except Exception as error:
        # `Err` of the component model, which is no class of a module that is there everywhere.
        why = getattr(error, "value", None)
        if not hasattr(why, "code"):
            raise
        raise Problem(why.code, why.message, why.hint) from None


def _ask(function, request):
    request = {name: value for name, value in request.items() if value is not None}
    return json.loads(_called(function, json.dumps(request)))


def _bytes(answer, name):
    text = answer.get(name)
    return text.encode() if text is not None else base64.b64decode(answer.get(name + "_base64", ""))


# --- what the task was given, and what it answers


def params():
    """The parameters, an object. What was read from stdin once is kept."""
    global _params
    if _params is None:
        text = sys.stdin.read()
        try:
            given = json.loads(text) if text.strip() else {}
        except ValueError as error:
            raise Problem("params.invalid", f"the parameters are no JSON: {error}") from None
        if not isinstance(given, dict):
            raise Problem("params.invalid", "the parameters are no JSON object")
        _params = given
    return _params


_params = None


def is_check():
    """Whether this is a dry run: change nothing, and say what would be changed."""
    return "WAFT_CHECK" in os.environ


def __getattr__(name):
    if name == "check":
        return is_check()
    raise AttributeError(f"module 'waft' has no attribute {name!r}")


def _json(value):
    """JSON that waft can read: no NaN, and half of a surrogate pair becomes `?`."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Problem("waft.result", f"the result is no JSON: {error}") from None
    return text.encode(errors="replace").decode()


def result(changed=False, msg=None, **fields):
    """Prints the result: `changed`, `msg`, and fields of the task's own. To be called once."""
    answer = {"changed": bool(changed)}
    if msg is not None:
        answer["msg"] = str(msg)
    print(_json(answer | fields), flush=True)


def exit(code):
    """Ends the task here and now, with this code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads any more
    if _wasi_exit is None:
        sys.exit(code)
    _wasi_exit.exit_with_code(code)


class Task:
    """What a component exports: `class Run(waft.Task)` with a method `main(params)`, which returns the result as a dict."""

    def main(self, params):
        raise NotImplementedError

    def run(self):
        """`run` of `wasi:cli/run`."""
        # The generator was seeded when this component was built.
        if "random" in sys.modules:
            sys.modules["random"].seed()
        if code := self.start():
            exit(code)

    def start(self):
        """Runs the task and prints what it answers. Returns its exit code."""
        try:
            answer = self.main(params()) or {}
            text = _json({"changed": False} | answer)
        except Problem as problem:
            error = {"code": problem.code, "message": problem.message, "hint": problem.hint}
            result(msg=problem.message, error=error)
            return {"params": USAGE, "grant": REFUSED}.get(problem.code.split(".")[0], FAILED)
        except Exception:
            traceback.print_exc()
            return FAILED
        print(text, flush=True)
        return 0


# --- the calls


def facts():
    """What the target is. Needs the grant `facts`."""
    return _ask("facts", {})


class Program:
    """How a program ended. `exit_code` is None when a signal ended it."""

    def __init__(self, answer):
        self.exit_code, self.signal = answer.get("exit_code"), answer.get("signal")
        self.timed_out, self.ms = bool(answer.get("timed_out")), answer.get("ms")
        self.stdout_bytes, self.stderr_bytes = _bytes(answer, "stdout"), _bytes(answer, "stderr")
        self.stdout_truncated = bool(answer.get("stdout_truncated"))
        self.stderr_truncated = bool(answer.get("stderr_truncated"))

    @property
    def stdout(self):
        """As text; bytes that are no UTF-8 become replacement characters."""
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self):
        return self.stderr_bytes.decode(errors="replace")

    @property
    def ok(self):
        return self.exit_code == 0

    def __repr__(self):
        return f"Program(exit_code={self.exit_code}, signal={self.signal}, stdout={self.stdout_bytes!r})"


def _words(argv):
    # `None` is no word, and a text is no list of words.
    if isinstance(argv, (str, bytes)):
        raise Problem("waft.argument", "what waft.run starts is a list of words, and this is a text")
    argv = list(argv)
    for at, word in enumerate(argv, 1):
        if isinstance(word, bool) or not isinstance(word, (str, int, float, os.PathLike)):
            raise Problem("waft.argument", f"word {at} of {len(argv)} that waft.run starts is a {type(word).__name__}, "
                                           "and not a text, number or path")
    return [str(word) for word in argv]


def run(argv, input=None, env=None, cwd=None, user=None, timeout=None, stdout=None, stderr=None, limit_bytes=None,
        confine=None, check=False):
    """Starts a program and waits for it. `input` is text or bytes, `timeout` seconds; `stdout` and `stderr` are
    "capture", "inherit" or "null". With `check`, another exit code than 0 is a `Problem`. Needs the grant `exec:`."""
    request = {"argv": _words(argv), "env": env, "cwd": cwd, "user": user, "stdout": stdout,
               "stderr": stderr, "limit_bytes": limit_bytes, "confine": confine}
    if timeout is not None:
        request["timeout_ms"] = int(timeout * 1000)
    if input is not None:
        input = input.encode() if isinstance(input, str) else bytes(input)
        request["stdin_base64"] = base64.b64encode(input).decode()
    program = Program(_ask("exec", request))
    if check and not program.ok:
        how = "its time was over" if program.timed_out else (
            f"signal {program.signal}" if program.exit_code is None else f"exit code {program.exit_code}")
        raise Problem("exec.failed", f"{argv[0]} failed ({how}): {program.stderr.strip()[-2000:]}")
    return program


def file(op, path, **fields):
    """Modes, owners, links, times, attributes: what WASI lacks. `op` and fields as in docs/waft-v1.md. Returns the
    answer. Needs `fs:`. Contents are read and written with `open` and `pathlib`."""
    return _ask("file", {"op": op, "path": str(path)} | fields)


def stat(path, follow=False):
    """What is there; `kind` is None when nothing is."""
    return file("stat", path, follow=follow)


def chmod(path, mode):
    """`mode` is a number (0o644) or octal digits. True when that was a change."""
    return file("chmod", path, mode=mode if isinstance(mode, str) else f"{mode:04o}")["changed"]


def chown(path, owner=None, group=None, follow=False):
    name = lambda id: None if id is None else str(id)
    return file("chown", path, owner=name(owner), group=name(group), follow=follow)["changed"]


def symlink(path, target):
    """Makes the symlink `path`, which holds `target`."""
    return file("symlink", path, target=str(target))["changed"]


def rename(path, to, replace=True):
    return file("rename", path, to=str(to), replace=replace)["changed"]


def call(name, params=None):
    """Runs another task that was sent with the run. Returns `status`, `result` or `stdout`, `problem`. Needs `call:NAME`."""
    return _ask("task", {"name": name, "params": params or {}})


def secret(name):
    """The value of a secret: text, or bytes when it is no UTF-8. Needs `secret:NAME`."""
    answer = _ask("secret", {"name": name})
    return base64.b64decode(answer["base64"]) if "base64" in answer else answer["value"]


def log(*words):
    """Lines for the log of the run."""
    _ask("emit", {"log": " ".join(str(word) for word in words)})


def progress(done, total=None, text=None):
    """How far the task is; whole numbers. Cheap to call often."""
    said = {"done": done, "total": total, "text": text}
    _ask("emit", {"progress": {name: value for name, value in said.items() if value is not None}})


class _Handle(io.RawIOBase):
    _handle = None

    def readinto(self, buffer):
        # No bytes would be its end.
        if not len(buffer):
            return 0
        some = _called("read", self._handle, min(len(buffer), PART_BYTES_MAX))
        buffer[: len(some)] = some
        return len(some)

    def readable(self):
        return True

    def close(self):
        if not self.closed and self._handle is not None:
            self._end()
        super().close()


class Blob(_Handle):
    """A file that was sent with the run, by its parameter (`-p NAME@FILE`) or hash. `size` is all of it, bytes. Needs
    `blob:HASH`, which `-p` gives."""

    def __init__(self, blob, offset=None, length=None):
        hash = blob["hash"] if isinstance(blob, dict) else blob
        answer = _ask("blob", {"hash": hash, "offset": offset, "length": length})
        self._handle, self.size = answer["handle"], answer["bytes"]

    def _end(self):
        _ask("blob", {"close": self._handle})


class Connection(_Handle):
    """A TCP connection, which the host holds. `address` is what was connected to. Needs `net:HOST:PORT`."""

    def __init__(self, host, port, timeout=None):
        timeout = None if timeout is None else int(timeout * 1000)
        answer = _ask("net", {"op": "open", "host": host, "port": port, "timeout_ms": timeout})
        self._handle, self.address = answer["handle"], answer["address"]

    def writable(self):
        return True

    def write(self, data):
        """Some of the bytes, and how many."""
        return _called("write", self._handle, bytes(data[:PART_BYTES_MAX])) if len(data) else 0

    def send(self, data):
        """All of the bytes."""
        data = memoryview(data)
        while len(data):
            data = data[self.write(data):]

    def shutdown(self):
        """Nothing more is written, and the other side reads the end."""
        _ask("net", {"op": "shutdown", "handle": self._handle})

    def _end(self):
        _ask("net", {"op": "close", "handle": self._handle})


def connect(host, port, timeout=None):
    return Connection(host, port, timeout)


def resolve(host):
    """The addresses of a host that a grant names."""
    return _ask("net", {"op": "resolve", "host": host})["addresses"]


# --- tests


class Fake:
    """A host for tests. `Fake(facts={..}, exec=[{..}, ..], file=lambda request: {..})`: what each call answers, one answer
    for all times, several in their order, or a function of the request. An answer may be a `Problem`. `read` gives the
    bytes that reads return. What was asked is in `asked`, what was written in `written`."""

    def __init__(self, read=b"", **answers):
        self.asked, self.written = [], b""
        self._answers, self._read = answers, io.BytesIO(read)

    def __getattr__(self, function):
        if function.startswith("_"):
            raise AttributeError(function)
        return lambda request: self._answer(function, json.loads(request))

    def _answer(self, function, request):
        self.asked.append((function, request))
        if function == "emit":
            return "{}"
        answer = self._answers.get(function, Problem("grant.missing", f"the test gives no `{function}`"))
        if isinstance(answer, list):
            answer = answer.pop(0)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Problem):
            raise answer
        return json.dumps(answer)

    def read(self, handle, limit):
        return self._read.read(limit)

    def write(self, handle, data):
        self.written += data
        return len(data)

    def __enter__(self):
        global _host
        self._outer, _host = _host, self
        return self

    def __exit__(self, *_):
        global _host
        _host = self._outer

    def run(self, task, check=False, **given):
        """Runs a task with these parameters: its exit code and its result."""
        global _params
        stdout, environment = sys.stdout, dict(os.environ)
        sys.stdout, _params = io.StringIO(), given
        os.environ.pop("WAFT_CHECK", None)
        if check:
            os.environ["WAFT_CHECK"] = "1"
        try:
            with self:
                code = task.start()
            return code, json.loads(sys.stdout.getvalue() or "{}")
        finally:
            sys.stdout, _params = stdout, None
            os.environ.clear()
            os.environ.update(environment)
