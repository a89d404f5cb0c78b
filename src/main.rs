//! The binary: hands over to `hoist::run`. Nothing else is decided here.

use std::process::ExitCode;

fn main() -> ExitCode {
    hoist::run()
}
