//! Messages to begin from: the golden ones.

use std::sync::LazyLock;

/// The encoded messages of version 1.
pub static MESSAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(messages);

fn messages() -> Vec<Vec<u8>> {
    let text = include_str!("../../tests/golden/v1.txt");
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut messages = Vec::new();
    while let (Some(name), Some(hex), Some(_)) = (lines.next(), lines.next(), lines.next()) {
        if name.starts_with("frame") || name.starts_with("envelope") {
            continue;
        }
        let hex = hex.trim_start_matches("  hex ").as_bytes();
        let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
        messages.push(hex.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect());
    }
    messages
}
