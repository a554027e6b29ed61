"""What the task does."""

import waft


class Run(waft.Task):
    def main(self, params):
        name = params.get("name")
        if not isinstance(name, str):
            waft.fail("the parameter `name` is missing: whom to greet", code="params.name")
        return {"changed": False, "msg": f"Hello, {name}!"}
