use serde_json::{Value, json};

/// What came of an attack.
#[derive(Default)]
pub struct Report {
    pub tried: u64,
    pub broke: Vec<String>,
    pub lost: Vec<String>,
    /// What the test wants to know besides.
    pub more: Vec<(&'static str, Value)>,
}

impl Report {
    /// Must be refused.
    pub fn refused(&mut self, what: impl FnOnce() -> String, errno: u16) {
        self.tried += 1;
        if errno == 0 {
            self.broke.push(what());
        }
    }

    /// Must work.
    pub fn works(&mut self, what: &str, errno: u16) {
        if errno != 0 {
            self.lost.push(format!("{what}: error {errno}"));
        }
    }

    /// Did not work, although it must.
    pub fn lost(&mut self, what: String) {
        self.lost.push(what);
    }

    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        self.more.push((name, value.into()));
    }

    /// As the task prints it.
    pub fn result(self) -> Value {
        let mut result = json!({ "tried": self.tried, "broke": self.broke, "lost": self.lost });
        for (name, value) in self.more {
            result[name] = value;
        }
        result
    }
}
