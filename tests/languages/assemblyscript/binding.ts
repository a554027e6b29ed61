// What waft.ts does with texts that are no UTF-8, and with files that cannot be read.
import { Json, Outcome, decode, fromBase64, readFile, start } from "./waft";

function run(params: Json): Outcome {
  const file = readFile(params.get("path").text);
  const problem = file.problem;
  if (problem != null) return Outcome.failed(problem);
  const text = decode(fromBase64(params.get("base64").text));
  return Outcome.changed(true).say(text).with("file", Json.from(decode(file.bytes))).with(text, Json.from("\ud83d"));
}

start(run);
