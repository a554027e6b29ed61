use crate::desk::Desk;
use crate::files::{
    cannot_give_away, change, check, diffs, fails, mode, needs_grants, no_params, no_remains, text, twice,
};
use serde_json::json;
use std::fs;
use waft_tests::Result;

#[test]
fn files_are_made_of_templates() -> Result<()> {
    Desk::each(|desk| {
        let dest = desk.path("app.conf");
        let lines = "{% for port in ports %}\nport = {{ port }}\n{% endfor %}\n# {{ waft_target }}\n";
        let params = json!({"dest": dest, "content": lines, "vars": {"ports": [1, 2]}, "mode": "0640"});
        let told = check(desk, "template", &params, "changed")?;
        assert!(diffs(&told).contains("+port = 1\n+port = 2\n"));
        assert_eq!(change(desk, &told, "app.conf")["mode"], json!([null, "0640"]), "{told}");
        twice(desk, "template", &params)?;
        assert_eq!((text(&dest).as_str(), mode(&dest)), ("port = 1\nport = 2\n# h1\n", 0o640));
        assert_eq!(check(desk, "template", &params, "ok")?["changes"], json!([]));
        let mut other = params.clone();
        other["mode"] = json!("0600");
        if desk.is_root() {
            other["owner"] = json!("65534");
        }
        let told = check(desk, "template", &other, "changed")?;
        let told = change(desk, &told, "app.conf");
        assert_eq!(told["mode"], json!(["0640", "0600"]), "{told}");
        assert_eq!(told["owner"].is_array(), desk.is_root(), "{told}");

        // A file of the controller, with facts of the target.
        let here = tempfile::tempdir().expect("a directory");
        let source = here.path().join("app.conf.j2");
        fs::write(&source, "who = {{ facts.user_id }}\nport = {{ port }}\n").expect("a file");
        let flag = format!("src@{}", source.display());
        let words = ["-p", flag.as_str()];
        let params = json!({"dest": dest, "vars": {"port": 8080}});
        let refused = desk.result("template", &params, &[&desk.rw()], &words, 5)?;
        assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
        desk.result("template", &params, &[&desk.rw(), "facts"], &words, 0)?;
        let said = text(&dest);
        assert!(said.starts_with("who = ") && said.ends_with("\nport = 8080\n"), "{said}");
        assert_eq!(said.contains("who = root"), desk.is_root());
        let error = desk.result("template", &json!({"dest": dest}), &[&desk.rw(), "facts"], &words, 3)?;
        let error = &error["result"]["error"];
        assert_eq!(error["code"], "template.error");
        assert!(
            error["message"].as_str().is_some_and(|text| text.starts_with("app.conf.j2, line 2: ")),
            "{error}"
        );

        let plain = json!({"dest": dest, "content": "x"});
        needs_grants(desk, "template", &plain)?;
        no_params(desk, "template", &json!({"dest": dest, "content": "x", "var": {}}), "var")?;
        cannot_give_away(desk, "template", &plain)?;
        fails(desk, "template", &json!({"dest": dest}), "params.source", &["src@"])?;
        no_remains(desk);
        Ok(())
    })
}
