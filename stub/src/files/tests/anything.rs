//! Requests made by chance: whatever is asked, nothing panics and nothing outside of the granted directories changes.
//!
//! A normal test and no fuzz target: this crate holds wasmtime, and a second build of that with another compiler is many
//! minutes for what one seed covers in seconds. WAFT_SEED repeats a run.

use super::*;
use crate::files::beneath::own;

const REQUESTS: u32 = 20_000;
/// Modes and names wear out: by then most directories are closed or gone.
const REQUESTS_PER_PLACE: u32 = 100;

/// xorshift64*: the same numbers everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn path(&mut self, top: &str) -> String {
        // Or else next to nothing would ever be done.
        if self.below(2) == 0 {
            let (dir, name) =
                (self.of(&["", "", "dir/", "link/"]), self.of(&["file", "a", "b", "dir", "link"]));
            return format!("{top}/rw/{dir}{name}");
        }
        let begin =
            self.of(&["rw", "rw", "rw", "rw", "rw", "ro", "outside", "rw/inner", "rw/dir", ".", ".."]);
        let mut path = if self.below(40) == 0 { String::new() } else { format!("{top}/{begin}") };
        let names =
            ["file", "dir", "inner", "a", "b", "link", "..", ".", "", "outside", "x\u{0}", "\u{fffd}", "..."];
        for _ in 0..self.below(4) {
            path.push('/');
            path.push_str(self.of(&names));
        }
        path
    }

    fn value(&mut self, field: &str, top: &str) -> Value {
        if self.below(30) == 0 {
            return [json!(null), json!(-1), json!([]), json!({}), json!(1e300), json!(""), json!(true)]
                [self.below(7)]
            .clone();
        }
        match field {
            "path" | "to" => self.path(top).into(),
            "target" => match self.below(6) {
                0 => self.path(top).into(),
                1 => format!("/proc/self/root{}", self.path(top)).into(),
                _ => self.of(&["../outside/file", "../outside", "file", "inner", "link", ".."]).into(),
            },
            "mode" => match self.below(3) {
                0 => format!("{:o}", self.below(0o10100)).into(),
                // An ordinary user gets into what he closed no more.
                _ => format!("{:o}", 0o700 + self.below(0o100)).into(),
            },
            "owner" | "group" => {
                [json!("root"), json!(self.below(70_000)), json!("nobody"), json!("1")][self.below(4)].clone()
            }
            "name" => self
                .of(&["user.a", "user.b", "trusted.a", "security.capability", "system.posix_acl_access", "a"])
                .into(),
            "value" => "x".repeat(self.below(300)).into(),
            "base64" => self.of(&["", "/wA=", "AgAAAAEABgD/////BAAEAP////8gAAQA/////w==", "="]).into(),
            "mtime" | "atime" => {
                [json!("now"), json!(self.below(1 << 30)), json!("-1.5")][self.below(3)].clone()
            }
            _ => json!(self.below(2) == 0),
        }
    }

    fn request(&mut self, top: &str) -> Vec<u8> {
        // fsync waits for disks: it gets its turn, and not more.
        let ops = [
            "stat",
            "chmod",
            "chown",
            "symlink",
            "link",
            "rename",
            "utime",
            "getxattr",
            "listxattr",
            "setxattr",
            "removexattr",
            "statvfs",
        ];
        let op = if self.below(200) == 0 { "fsync" } else { self.of(&ops) };
        let fields: &[&str] = match op {
            "chmod" => &["mode", "follow"],
            "chown" => &["owner", "group", "follow"],
            "symlink" => &["target"],
            "link" => &["to"],
            "rename" => &["to", "replace", "exchange"],
            "utime" => &["mtime", "atime", "follow"],
            "getxattr" | "removexattr" => &["name", "follow"],
            "setxattr" if self.below(2) == 0 => &["name", "value", "follow"],
            "setxattr" => &["name", "base64", "follow"],
            "stat" | "listxattr" => &["follow"],
            _ => &[],
        };
        let mut request = json!({"op": op, "path": self.value("path", top)});
        for field in fields {
            request[*field] = self.value(field, top);
        }
        if self.below(40) == 0 {
            let field = self.of(&["mode", "to", "x", "op"]);
            request[field] = self.value(field, top);
        }
        let mut bytes = request.to_string().into_bytes();
        match self.below(8) {
            // Damaged, or no request at all.
            0 => {
                for _ in 0..=self.below(4) {
                    let at = self.below(bytes.len());
                    bytes[at] = self.below(256) as u8;
                }
            }
            1 if self.below(4) == 0 => bytes.truncate(self.below(bytes.len())),
            1 if self.below(4) == 0 => bytes = (0..self.below(200)).map(|_| self.below(256) as u8).collect(),
            _ => {}
        }
        bytes
    }
}

#[test]
fn whatever_is_asked_nothing_outside_changes() {
    let seed = std::env::var("WAFT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed);
    eprintln!("WAFT_SEED={seed}");
    let mut chance = Chance(seed);
    let mut seen = BTreeMap::<String, u32>::new();
    for _ in 0..REQUESTS / REQUESTS_PER_PLACE {
        let place = Place::new();
        // By descriptor: on the way there modes may be anything, and that is allowed.
        let read_only = || {
            let mut all = place.outside();
            for root in place.roots.0.iter().filter(|root| !root.dir.writable) {
                look(Path::new(&format!("{}/.", own(&root.descriptor))), &mut all);
            }
            assert_eq!(all.len(), 6, "three directories with a file each: {all:?}");
            all
        };
        let before = read_only();
        for _ in 0..REQUESTS_PER_PLACE {
            let request = chance.request(&place.path(""));
            let line = subject(&request);
            assert!(line.len() < 8192 && !line.contains('\n'), "{line}");
            let code = match call(&request, &place.roots, "deploy", "web1") {
                Ok(answer) => {
                    let answer: Value = serde_json::from_str(&answer.text).expect("JSON");
                    assert!(answer.is_object());
                    line.split(' ').next().unwrap_or_default().to_owned()
                }
                Err(problem) => problem.code,
            };
            *seen.entry(code).or_default() += 1;
        }
        assert_eq!(read_only(), before);
    }
    // By chance all of it was done, and refused in each way that matters.
    for code in [
        "stat",
        "chmod",
        "utime",
        "symlink",
        "link",
        "rename",
        "getxattr",
        "listxattr",
        "setxattr",
        "removexattr",
        "statvfs",
    ] {
        assert!(seen.get(code).is_some_and(|seen| *seen >= 10), "{code}: {seen:?}");
    }
    for code in
        ["file.request", "file.escape", "file.setid", "file.xattr_class", "file.not_found", "grant.missing"]
    {
        assert!(seen.get(code).is_some_and(|seen| *seen >= 10), "{code}: {seen:?}");
    }
}
