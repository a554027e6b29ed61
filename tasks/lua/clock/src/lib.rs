//! The time, under the name that luars knows.

use std::time::{SystemTime, UNIX_EPOCH};

pub struct Date;

impl Date {
    /// Milliseconds since 1970.
    pub fn now() -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1000.0)
    }
}
