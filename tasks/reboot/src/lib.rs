//! How a machine is told to reboot. A library of its own, so that its tests run on the machine that builds it.

use serde::Deserialize;
use waft_sdk::Error;

/// Seconds.
const DELAY_MAX: u32 = 24 * 3600;
pub const SECONDS_PER_MINUTE: u32 = 60;
/// Of the message, bytes.
const MSG_BYTES_MAX: usize = 256;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Params {
    pub boot_id: Option<String>,
    pub pre_reboot_delay: Option<u32>,
    pub msg: Option<String>,
    pub test_command: Option<String>,
    // By these the controller waits; here they only have to be numbers.
    pub reboot_timeout: Option<u32>,
    pub post_reboot_delay: Option<u32>,
    pub connect_timeout: Option<u32>,
}

#[derive(Deserialize)]
pub struct Facts {
    pub boot_id: Option<String>,
    pub service_mgr: Option<String>,
    pub uptime_seconds: Option<u64>,
}

fn invalid(message: &str, hint: &str) -> Error {
    Error { hint: Some(hint.into()), ..Error::new("params.invalid", message) }
}

impl Params {
    /// Minutes, rounded down.
    fn minutes(&self) -> Result<u32, Error> {
        match self.pre_reboot_delay.unwrap_or(0) {
            seconds @ 0..=DELAY_MAX => Ok(seconds / SECONDS_PER_MINUTE),
            _ => {
                Err(invalid("`pre_reboot_delay` is more than a day", "it is a number of seconds up to 86400"))
            }
        }
    }

    fn message(&self) -> Result<&str, Error> {
        let msg = self.msg.as_deref().unwrap_or("Reboot ordered by waft");
        let is_good = !msg.starts_with('-') && msg.len() <= MSG_BYTES_MAX && !msg.contains(char::is_control);
        match is_good {
            true => Ok(msg),
            false => Err(invalid(
                "`msg` can be no message of shutdown",
                "it is one line of at most 256 bytes, and does not begin with `-`",
            )),
        }
    }

    /// The words of the program that says whether it is ready.
    pub fn test(&self) -> Result<Option<Vec<String>>, Error> {
        let Some(text) = &self.test_command else { return Ok(None) };
        match shlex::split(text).filter(|words| words.first().is_some_and(|first| !first.is_empty())) {
            Some(words) => Ok(Some(words)),
            None => Err(invalid(
                "`test_command` is no program with its arguments",
                "for example `-p test_command='systemctl is-system-running'`",
            )),
        }
    }

    /// The programs that can do it, and in how many seconds the first one does.
    pub fn ways(&self, service_manager: Option<&str>) -> Result<(Vec<Vec<String>>, u32), Error> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (minutes, msg) = (self.minutes()?, self.message()?);
        if service_manager == Some("systemd") {
            // It keeps the order itself: nothing of the task has to stay for it.
            let way = words(&["shutdown", "-r", &["+", &minutes.to_string()].concat(), msg]);
            return Ok((vec![way], minutes * SECONDS_PER_MINUTE));
        }
        // Elsewhere shutdown would wait in the foreground, and end with the task.
        Ok((vec![words(&["shutdown", "-r", "now"]), words(&["reboot"])], 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(json: &str, manager: Option<&str>) -> Result<Vec<String>, String> {
        let ways = serde_json::from_str::<Params>(json).unwrap().ways(manager);
        ways.map(|(ways, _)| ways.iter().map(|words| words.join(" ")).collect())
            .map_err(|error| error.message)
    }

    #[test]
    fn the_order() {
        assert_eq!(ways("{}", Some("systemd")).unwrap(), ["shutdown -r +0 Reboot ordered by waft"]);
        let given =
            |seconds| ways(&format!(r#"{{"pre_reboot_delay":{seconds},"msg":"x"}}"#), Some("systemd"));
        for (seconds, order) in
            [(59, "shutdown -r +0 x"), (60, "shutdown -r +1 x"), (359, "shutdown -r +5 x")]
        {
            assert_eq!(given(seconds).unwrap(), [order]);
        }
        for other in [None, Some("init"), Some("openrc-init")] {
            assert_eq!(ways("{}", other).unwrap(), ["shutdown -r now", "reboot"]);
        }
        for bad in [r#"{"pre_reboot_delay":86401}"#, r#"{"msg":"-k"}"#, r#"{"msg":"a\nb"}"#] {
            assert!(ways(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_test_is_words_and_no_shell() {
        let test = |text: &str| Params { test_command: Some(text.into()), ..Params::default() }.test();
        assert_eq!(test("a 'b c' ;d").unwrap().unwrap(), ["a", "b c", ";d"]);
        assert!(Params::default().test().unwrap().is_none());
        for bad in ["", " ", "'a", "'' b"] {
            assert_eq!(test(bad).unwrap_err().code, "params.invalid", "{bad}");
        }
    }
}
