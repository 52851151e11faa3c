//! Standard output: results only; everything else goes to standard error.

use std::io::{ErrorKind, Write};

use crate::exit::{ENVIRONMENT, Failure, Outcome};

/// Prints `text`. A reader that went away (`gradcode plan .. | head`) is no error.
///
/// # Errors
/// [`ENVIRONMENT`] when standard output cannot be written, for instance to a full disk.
pub fn print(text: &str) -> Outcome {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(
            ENVIRONMENT,
            format!("failed to write to standard output: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Prints one JSON object on one line.
///
/// # Errors
/// As [`print()`].
pub fn json(value: &serde_json::Value) -> Outcome {
    print(&format!("{value}\n"))
}
