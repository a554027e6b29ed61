"""The task `python`: runs a script that it is given. For the script it is as if it were the task itself: stdin is
`params` as JSON, `sys.argv` is its name and `args`, what it prints is the task's stdout, and `sys.exit` its exit code."""

import importlib.abc
import io
import json
import linecache
import os
import random
import sys
import traceback
import types

import library  # what of the standard library scripts can import
import waft

# A parameter or script that cannot be used; as the tasks shipped with waft.
USAGE = 2
# What the script did not catch.
FAILED = 1
# Exit codes from 126 are the host's.
CODE_MAX = 125

PARAMETERS = {"script": str, "name": str, "params": dict, "args": list}


# What scripts often import that cannot work in a sandbox, and what does.
INSTEAD = {
    "subprocess": "programs are started with waft.run(argv)",
    "multiprocessing": "programs are started with waft.run(argv)",
    "socket": "connections are opened with waft.connect(host, port)",
    "http": "connections are opened with waft.connect(host, port), and the task `uri` speaks HTTP",
    "requests": "connections are opened with waft.connect(host, port), and the task `uri` speaks HTTP",
}


class Missing(importlib.abc.MetaPathFinder):
    """Asked last: says why a module is not there."""

    def find_spec(self, name, path=None, target=None):
        package = name.partition(".")[0]
        # What is there looks for parts of itself in vain, too.
        if package in sys.builtin_module_names or package in library.NAMES:
            return None
        why = "is not in the Python of waft" if package in sys.stdlib_module_names else "is not there"
        why = f"the module {name} {why}: "
        if package in INSTEAD:
            raise ModuleNotFoundError(why + INSTEAD[package], name=name)
        raise ModuleNotFoundError(why + "a script has `waft` and this part of the standard library: "
                                  + ", ".join(sorted(library.NAMES)), name=name)


def given():
    """The parameters of this task, checked: somebody may run it with another host."""
    params = waft.params()
    for name in params:
        if name not in PARAMETERS:
            raise waft.Problem("params.unknown", f"the task python has no parameter `{name}`: "
                               + ", ".join(PARAMETERS))
    if "script" not in params:
        raise waft.Problem("params.missing", "the parameter `script` is missing: the text of the script")
    for name, value in params.items():
        if not isinstance(value, PARAMETERS[name]):
            raise waft.Problem("params.type", f"the parameter `{name}` is no {PARAMETERS[name].__name__}")
    if not all(isinstance(word, str) for word in params.get("args", [])):
        raise waft.Problem("params.type", "the parameter `args` is no list of texts")
    return params


def show(name, error):
    """The traceback without the lines of this runner."""
    shown = error.__traceback__
    while shown is not None and shown.tb_frame.f_code.co_filename != name:
        shown = shown.tb_next
    traceback.print_exception(type(error), error, shown)


def execute(script, name, params, args):
    """Runs the script; returns its exit code."""
    # The generator was seeded when this component was built.
    random.seed()
    sys.argv = [name, *args]
    sys.path.clear()
    sys.stdin = io.TextIOWrapper(io.BytesIO(json.dumps(params).encode()), encoding="utf-8")
    waft._params = params
    main = types.ModuleType("__main__")
    main.__file__ = name
    sys.modules["__main__"] = main
    # So that a traceback has the lines.
    linecache.cache[name] = (len(script), None, script.splitlines(True), name)
    try:
        code = compile(script, name, "exec", dont_inherit=True)
        exec(code, main.__dict__)
        return 0
    except SystemExit as end:
        return code_of(end.code)
    except BaseException as error:
        show(name, error)
        return FAILED


def code_of(code):
    """As Python itself: nothing is success, a text goes to stderr."""
    if code is None:
        return 0
    if isinstance(code, int):
        if 0 <= code <= CODE_MAX:
            return code
        print(f"sys.exit({code}): an exit code is 0 to {CODE_MAX}; this one becomes {FAILED}", file=sys.stderr)
        return FAILED
    print(code, file=sys.stderr)
    return FAILED


class Run:
    def run(self):
        sys.meta_path.append(Missing())
        try:
            params = given()
            code = execute(params["script"], params.get("name", "script.py"), params.get("params", {}),
                           params.get("args", []))
        except waft.Problem as problem:
            error = {"code": problem.code, "message": problem.message, "hint": problem.hint}
            waft.result(msg=problem.message, error=error)
            code = USAGE
        if code:
            waft.exit(code)
        sys.stdout.flush()
