//! Printing: results on standard output, all else on standard error.

use std::{
    error::Error,
    fmt::Display,
    io::{self, ErrorKind, Write},
};

use desumnet_files::whole_file;
use desumnet_media::secrets;

/// Exit status of a program that SIGPIPE ends.
const NOBODY_READS: i32 = 128 + 13;

/// Says a line on standard error, without the secrets of the URLs in it. That nobody listens any more stops no work.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{}", secrets::hide(&line.to_string()));
}

/// Prints a result on standard output. Where its reader has left (`| head`), the program ends without a word.
pub fn print(text: &str) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {
            whole_file::discard();
            std::process::exit(NOBODY_READS);
        }
        written => written.map_err(|e| format!("standard output can't be written: {e}").into()),
    }
}
