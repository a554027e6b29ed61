//! A run that several people must agree to: written down, signed with waft and with ssh-keygen, verified, and refused when
//! it is another run than the one that was signed.

use super::Desk;
use std::process::Command;
use waft_tests::Result;
use waft_tests::keys::KeyKind;
use waft_tests::process::run_tool;
use waft_tests::waft::{Output, Waft};

impl Desk {
    fn run(&self, arguments: &[&str]) -> Result<Output> {
        Waft::new("run")?.args(["facts", "-t", "local"]).args(arguments).run()
    }

    fn verify_approval(&self, needed: &str) -> Result<Output> {
        let (file, signers) = (self.path("approval"), self.path("signers"));
        Waft::new("verify")?.arg(file).arg("--allowed-signers").arg(signers).args(["--needed", needed]).run()
    }
}

#[test]
fn two_people_approve_one_run_and_no_other() -> Result<()> {
    let desk = Desk::new()?;
    let (amy, bob) = (desk.key(KeyKind::Ed25519, "amy")?, desk.key(KeyKind::Ecdsa, "bob")?);
    desk.file("signers", format!("amy {}\nbob {}\n", amy.public, bob.public));
    let file = desk.path("approval");
    let name = file.to_str().expect("a plain path");
    let asked = desk.run(&["--allow", "facts", "--approval-request", name])?.expect_code(0)?;
    assert!(asked.stdout().contains("nothing was run"), "{asked}");
    // Never over one that may have been signed.
    desk.run(&["--allow", "facts", "--approval-request", name])?.expect_code(2)?;
    let unsigned = desk.run(&["--allow", "facts", "--approval", name])?.expect_code(2)?;
    assert!(unsigned.stderr().contains("nobody has approved"), "{unsigned}");

    let said = Waft::new("sign")?.arg(&file).arg("--key").arg(&amy.path).run()?.expect_code(0)?.stdout();
    assert!(said.contains("on local\n") && said.contains("facts\n") && said.contains("signed by"), "{said}");
    let alone = desk.verify_approval("2")?.expect_code(5)?;
    assert!(alone.stderr().contains("1 of 2 people who must approve this did (amy)"), "{alone}");
    // One person twice is one.
    Waft::new("sign")?.arg(&file).arg("--key").arg(&amy.path).run()?.expect_code(0)?;
    desk.verify_approval("2")?.expect_code(5)?;

    // The second does without waft.
    let document = std::fs::read(&file).expect("the document");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-Y", "sign", "-n", "waft-approval", "-f"]).arg(&bob.path);
    let by_bob = run_tool(keygen, &document)?;
    let signed = desk.path("approval.sig");
    let by_amy = std::fs::read_to_string(&signed).expect("a signature");
    desk.file("approval.sig", format!("{by_amy}{by_bob}"));
    let both = desk.verify_approval("2")?.expect_code(0)?.stdout();
    assert!(both.contains("good: amy ") && both.contains("good: bob "), "{both}");

    for (arguments, why) in [
        (&["--allow", "facts", "-p", "filter=kernel"][..], "the parameters are blake3:"),
        (&[], "the grant `facts` is approved and not given"),
        (&["--allow", "facts", "-t", "ops@web1.invalid"], "the target `ops@web1.invalid` is not approved"),
    ] {
        let refused = desk.run(&[arguments, &["--approval", name]].concat())?.expect_code(2)?;
        assert!(refused.stderr().contains(why), "{refused}");
    }
    // A byte of the document was changed after they signed it.
    let changed = String::from_utf8(document).expect("text").replace("\"check\":false", "\"check\":true");
    desk.file("approval", changed);
    let refused = desk.run(&["--allow", "facts", "--approval", name])?.expect_code(2)?.stderr();
    assert!(refused.contains("not over these bytes") && refused.contains("a dry run"), "{refused}");
    desk.verify_approval("1")?.expect_code(5)?;
    Ok(())
}
