// What the task does.
import { Json, Kind, Outcome, Problem, start } from "./waft";

function run(params: Json): Outcome {
  const name = params.get("name");
  if (name.kind != Kind.Text) {
    return Outcome.failed(new Problem("params.name", "the parameter `name` is missing: whom to greet"));
  }
  return Outcome.ok().say("Hello, " + name.text + "!");
}

start(run);
