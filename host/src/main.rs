//! `waft`.

fn main() -> std::process::ExitCode {
    waft::cli::main()
}
