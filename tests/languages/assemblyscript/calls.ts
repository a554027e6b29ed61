// Calls all that waft.ts has.
import {
  Answer, Blob, Connection, Json, Kind, Outcome, call, decode, encode, exec, facts, file, fromBase64, isCheck, log, progress,
  readFile, resolve, secret, start, toBase64, writeFile,
} from "./waft";

function list(items: Array<Json>): Json {
  const made = Json.of(Kind.List);
  made.items = items;
  return made;
}

function code(answer: Answer): Json {
  const problem = answer.problem;
  return problem == null ? Json.of(Kind.Null) : Json.from(problem.code);
}

function run(params: Json): Outcome {
  const dir = params.get("dir").text;
  log("calls: log");
  progress(1, 2, "half");
  progress(2, 2, "all");

  const bytes = new Uint8Array(3);
  bytes[0] = 97;
  bytes[1] = 255;
  bytes[2] = 98;
  const cat = exec(["/bin/cat"], Json.object().set("stdin_base64", Json.from(toBase64(bytes)))).json;
  const out = fromBase64(cat.get("stdout_base64").text);
  const numbers: Array<Json> = [];
  for (let i = 0; i < out.length; i++) numbers.push(Json.integer(out[i]));
  const refused = code(exec(["/bin/true"]));

  file("symlink", dir + "/b", Json.object().set("target", Json.from("file")));
  file("rename", dir + "/b", Json.object().set("to", Json.from(dir + "/c")));
  const stat = file("stat", dir + "/file").json;
  const first = file("chmod", dir + "/file", Json.object().set("mode", Json.from("0600"))).json.get("changed");
  const again = file("chmod", dir + "/file", Json.object().set("mode", Json.from("0600"))).json.get("changed");
  const link = file("stat", dir + "/c").json.get("kind");
  const failed = writeFile(dir + "/made", encode("h\u00e9llo"));
  if (failed != null) return Outcome.failed(failed);

  const connection = new Connection("127.0.0.1", <i32>params.get("port").whole);
  connection.write(encode("hello there"));
  connection.shutdown();
  const answer = decode(connection.readAll());
  connection.close();
  const lost = connection.problem;
  if (lost != null) return Outcome.failed(lost);

  const blob = new Blob(params.get("blob"));
  const content = blob.readAll();
  blob.close();
  let sum: i64 = 0;
  for (let i = 0; i < content.length; i++) sum += content[i];

  return Outcome.changed(true)
    .with("facts", facts().json.get("kernel"))
    .with("exec", list([list(numbers), cat.get("exit_code"), refused]))
    .with("file", list([stat.get("kind"), stat.get("mode"), first, again, link]))
    .with("written", Json.from(decode(readFile(dir + "/made").bytes)))
    .with("net", list([resolve("127.0.0.1").json.get("addresses"), Json.from(answer)]))
    .with("task", call("facts").json.get("result").get("facts").get("kernel"))
    .with("blob", list([Json.integer(blob.size), Json.integer(content.length), Json.integer(sum)]))
    .with("secret", Json.from(decode(secret("word").bytes).split("").reverse().join("")))
    .with("wrong", code(file("chmod", dir, Json.object().set("mdoe", Json.from("0600")))))
    .with("check", Json.truth(isCheck()));
}

start(run);
