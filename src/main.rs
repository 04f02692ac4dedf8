//! The `claude-workers` program; everything is in the library.

fn main() -> std::process::ExitCode {
    claude_workers::cli::main()
}
