"""Calls all that waft.py has."""

import random

import waft


def code(work):
    try:
        work()
    except waft.Problem as problem:
        return problem.code


class Run(waft.Task):
    def main(self, params):
        if params.get("only") == "random":
            return {"drawn": random.random()}
        directory = params["dir"]
        waft.log("calls:", "log")
        waft.progress(1, 2, "half")
        waft.progress(2, 2, "all")
        cat = waft.run(["/bin/cat"], input=b"a\xffb")
        refused = code(lambda: waft.run(["/bin/true"]))
        waft.symlink(directory + "/b", "file")
        waft.rename(directory + "/b", directory + "/c")
        with open(directory + "/made", "w") as made:
            made.write("h\u00e9llo")
        with waft.connect("127.0.0.1", params["port"], timeout=10) as connection:
            connection.send(b"hello there")
            connection.shutdown()
            answer = connection.readall().decode()
        with waft.Blob(params["blob"]) as blob:
            size, content = blob.size, blob.readall()
        return {
            "changed": True,
            "facts": waft.facts()["kernel"],
            "exec": [list(cat.stdout_bytes), cat.exit_code, refused],
            "file": [waft.stat(directory + "/file")["kind"], waft.stat(directory + "/file")["mode"],
                     waft.chmod(directory + "/file", 0o600), waft.chmod(directory + "/file", "0600"),
                     waft.stat(directory + "/c")["kind"]],
            "written": open(directory + "/made").read(),
            "net": [waft.resolve("127.0.0.1"), answer],
            "task": waft.call("facts")["result"]["facts"]["kernel"],
            "blob": [size, len(content), sum(content)],
            "secret": waft.secret("word")[::-1],
            "wrong": code(lambda: waft.file("chmod", directory, mdoe="0600")),
            "check": waft.check,
        }
