//! Stands in for the stub: says how it was started, then repeats what is left on its stdin. Compiled by `lab.rs`
//! as a program of its own, static like the stub.

use std::fs;
use std::io::{self, Write};

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let exe = fs::read_link("/proc/self/exe")?;
    if args.iter().any(|arg| arg.starts_with("dir:")) {
        fs::remove_file(&exe)?;
    }
    // A descriptor of its own file that it inherited: everything it starts could change it through that.
    let leaks = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|file| *file == exe)
        .count();
    let mut stdout = io::stdout();
    write!(stdout, "\nWAFT-LINK\n{}\n{}\n{leaks}\n", args.join(" "), exe.display())?;
    stdout.flush()?;
    io::copy(&mut io::stdin(), &mut stdout)?;
    Ok(())
}
