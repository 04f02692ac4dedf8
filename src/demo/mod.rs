//! Being written.

/// Runs the demo.
///
/// # Errors
/// None yet.
pub fn run(_keep: bool) -> Result<std::process::ExitCode, crate::ops::Failure> {
    Ok(std::process::ExitCode::SUCCESS)
}
