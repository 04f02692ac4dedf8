fn main() -> std::process::ExitCode {
    claude_workers::cli::main()
}
