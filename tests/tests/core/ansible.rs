//! The bridge to Ansible's modules: real ones of each kind.

use crate::desk::{Desk, hint, unsent};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use waft_tests::Result;
use waft_tests::waft::Output;

const BINARY: &str = "exec:/dev/fd/3 /dev/fd/4";
const PYTHON: &str = "exec:python3 /dev/fd/3 /dev/fd/4";

/// Reads the file that is its argument, and answers.
const C_MODULE: &str = r#"
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    char args[4096] = {0};
    FILE *file = fopen(argc == 2 ? argv[1] : "", "r");
    if (!file || !fread(args, 1, sizeof args - 1, file)) { puts("{\"failed\": true, \"msg\": \"no arguments\"}"); return 1; }
    const char *check = strstr(args, "\"_ansible_check_mode\":true") ? "true" : "false";
    if (strstr(args, "\"fail\":true")) { printf("{\"failed\": true, \"msg\": \"as asked\", \"own\": 7}\n"); return 1; }
    if (strstr(args, "\"crash\":true")) return 9;
    printf("{\"changed\": true, \"msg\": \"from C\", \"check\": %s, \"program\": \"%s\", \"named\": %s}\n", check, argv[0],
           strstr(args, "\"name\": \"a b\"") || strstr(args, "\"name\":\"a b\"") ? "true" : "false");
    return 0;
}
"#;

const WANT_JSON: &str = r#"#!/usr/bin/python
# WANT_JSON
import json, os, sys
with open(sys.argv[1]) as file:
    args = json.load(file)
print(json.dumps({"changed": False, "skipped": args["_ansible_check_mode"], "got": args["list"], "pid": os.getpid() > 1}))
"#;

const JSON_ARGS: &str = r#"#!/usr/bin/env python3
import json
ARGS = json.loads('''<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>''')
print("a warning\n" + json.dumps({"changed": True, "got": ARGS["n"] + 1, "module": ARGS["_ansible_module_name"]}))
"#;

struct Modules<'a> {
    /// That runs them.
    task: &'a str,
    desk: &'a Desk,
    dir: tempfile::TempDir,
}

impl<'a> Modules<'a> {
    fn of(task: &'a str, desk: &'a Desk) -> Modules<'a> {
        Modules { task, desk, dir: tempfile::tempdir().expect("a directory") }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("written");
        path
    }

    fn run(&self, module: &Path, args: &Value, grants: &[&str], words: &[&str]) -> Result<Output> {
        let module = format!("module@{}", module.display());
        let words = [&["-p", &module], words].concat();
        self.desk.run(self.task, &json!({"args": args}), grants, &words)
    }

    fn result(
        &self,
        module: &Path,
        args: &Value,
        grants: &[&str],
        words: &[&str],
        code: i32,
    ) -> Result<Value> {
        self.run(module, args, grants, words)?.expect_code(code)?.result_of("h1")
    }
}

#[test]
fn a_binary_module_runs_from_memory() -> Result<()> {
    Desk::each(|desk| {
        let modules = Modules::of("ansible", desk);
        let (source, program) = (modules.file("m.c", C_MODULE), modules.dir.path().join("m"));
        let built = Command::new("cc").arg("-o").args([&program, &source]).status().expect("a compiler");
        assert!(built.success());
        let result = modules.result(&program, &json!({"name": "a b"}), &[BINARY], &[], 0)?;
        assert_eq!(result["status"], "changed", "{result}");
        assert_eq!(
            result["result"],
            json!({"changed": true, "msg": "from C", "check": false, "program": "/dev/fd/3", "named": true})
        );
        let failed = modules.result(&program, &json!({"fail": true}), &[BINARY], &[], 3)?;
        assert_eq!((&failed["status"], &failed["result"]["own"]), (&json!("failed"), &json!(7)), "{failed}");
        assert_eq!(failed["result"]["error"]["code"], "ansible.failed", "{failed}");
        let crashed = modules.result(&program, &json!({"crash": true}), &[BINARY], &[], 3)?;
        assert_eq!(crashed["result"]["error"]["code"], "ansible.answer", "{crashed}");

        let refused = modules.result(&program, &json!({}), &[], &[], 5)?;
        assert!(hint(&refused).ends_with("--allow \"exec:/dev/fd/3 /dev/fd/4\""), "{refused}");
        // A dry run is the module's own: it runs only where the operator says that it can be trusted with one.
        let dry = modules.result(&program, &json!({}), &[BINARY], &["--check"], 5)?;
        assert_eq!(dry["error"]["code"], "grant.check", "{dry}");
        let told = json!({"_ansible_check_mode": false});
        let dry = modules.result(&program, &told, &[&format!("{BINARY}:probe")], &["--check"], 0)?;
        assert_eq!(dry["result"]["check"], true, "{dry}");
        Ok(())
    })
}

#[test]
fn modules_that_take_json_run_by_their_interpreter() -> Result<()> {
    let desk = Desk::new()?;
    let modules = Modules::of("ansible", &desk);
    let module = modules.file("want.py", WANT_JSON);
    let result = modules.result(&module, &json!({"list": [1, "\u{e9}"]}), &[PYTHON], &[], 0)?;
    assert_eq!(
        result["result"],
        json!({"changed": false, "skipped": false, "got": [1, "\u{e9}"], "pid": true}),
        "{result}"
    );
    let module = modules.file("args.py", JSON_ARGS);
    let result = modules.result(&module, &json!({"n": 41}), &[PYTHON], &[], 0)?;
    assert_eq!(result["result"], json!({"changed": true, "got": 42, "module": "args"}), "{result}");
    let shell =
        "#!/bin/sh\n# WANT_JSON\ngrep -q '\"_ansible_diff\":true' \"$1\" && echo '{\"changed\": \"yes\"}'\n";
    let module = modules.file("shell", shell);
    let grant = ["exec:/bin/sh /dev/fd/3 /dev/fd/4"];
    let result = modules.result(&module, &json!({}), &grant, &["-p", "diff:=true"], 0)?;
    assert_eq!(result["status"], "changed", "{result}");

    // What cannot be run.
    for (text, said) in [
        ("#!/bin/sh\n. $1", "does not say that it takes JSON"),
        ("#!powershell\n#Requires -Module Ansible.ModuleUtils.Legacy\n", "Windows"),
        ("# WANT_JSON", "nothing says what interprets it"),
        (
            "#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\n",
            "imports parts of Ansible",
        ),
    ] {
        let module = modules.file("odd", text);
        let result = modules.result(&module, &json!({}), &["exec:*"], &[], 3)?;
        assert!(result["result"]["msg"].as_str().is_some_and(|msg| msg.contains(said)), "{result}");
    }
    let module = modules.file("list", WANT_JSON);
    unsent(modules.run(&module, &json!([1]), &[PYTHON], &[])?, &["`args`"])?;
    desk.unsent("ansible", &json!({"module_name": "x"}), &[PYTHON], &["`module_name`", "`module`"])?;
    Ok(())
}

/// An installation of ansible-core, if there is one.
fn installed() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let output = Command::new(root.join("scripts/languages/ansible.sh")).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    (output.status.success() && path.join("ansible/modules/ping.py").is_file()).then_some(path)
}

#[test]
fn modules_of_ansible_run_where_there_is_no_ansible() -> Result<()> {
    let Some(ansible) = installed() else {
        eprintln!("SKIPPED (scripts/languages/ansible.sh cannot install it): modules of ansible-core");
        return Ok(());
    };
    Desk::each(|desk| {
        let modules = Modules::of("ansible", desk);
        let zip = modules.dir.path().join("utils.zip");
        let made = Command::new("python3")
            .args(["-m", "zipfile", "-c"])
            .arg(&zip)
            .arg("ansible/module_utils")
            .current_dir(&ansible)
            .status();
        assert!(made.expect("Python").success());
        let utils = format!("module_utils@{}", zip.display());
        let words = ["-p", utils.as_str()];
        let own = |name: &str| ansible.join(format!("ansible/modules/{name}.py"));
        let grant = |name: &str| format!("exec:python3 /dev/fd/3 {name}");

        let result = modules.result(&own("ping"), &json!({"data": "x"}), &[&grant("ping")], &words, 0)?;
        assert_eq!(result["result"], json!({"changed": false, "ping": "x"}), "{result}");
        let crash = modules.result(&own("ping"), &json!({"data": "crash"}), &[&grant("ping")], &words, 3)?;
        assert!(crash["stderr"].as_str().is_some_and(|text| text.contains("boom")), "{crash}");
        let bad = modules.result(&own("ping"), &json!({"dtaa": 1}), &[&grant("ping")], &words, 3)?;
        assert!(bad["result"]["msg"].as_str().is_some_and(|msg| msg.contains("dtaa")), "{bad}");

        let place = desk.path("made");
        let args = json!({"path": place, "state": "directory", "mode": "0711"});
        let probe = format!("{}:probe", grant("file"));
        let all = [&words[..], &["--check", "-p", "diff:=true"]].concat();
        let dry = modules.result(&own("file"), &args, &[&probe], &all, 0)?;
        assert!(
            dry["status"] == "changed" && dry["result"]["diff"]["after"]["state"] == "directory",
            "{dry}"
        );
        assert!(!place.exists());
        let real = modules.result(&own("file"), &args, &[&grant("file")], &words, 0)?;
        assert!(real["status"] == "changed" && place.is_dir(), "{real}");
        let again = modules.result(&own("file"), &args, &[&grant("file")], &words, 0)?;
        assert_eq!(again["status"], "ok", "{again}");
        let stat = modules.result(&own("stat"), &json!({"path": place}), &[&grant("stat")], &words, 0)?;
        assert_eq!(stat["result"]["stat"]["mode"], "0711", "{stat}");
        Ok(())
    })
}
