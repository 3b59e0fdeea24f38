//! Man pages and shell completions, made of the command lines themselves.

use std::{fs, io, path::Path};

use clap::Command;
use clap_complete::{Shell, generate_to};

/// Where the shells look, below `share`.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Zsh, "zsh/site-functions"),
    (Shell::Fish, "fish/vendor_completions.d"),
];

/// Writes them below a folder `share`: a man page for the program and each of its verbs, completions for bash, zsh and fish.
///
/// # Errors
/// If a file can't be written.
pub fn write(mut command: Command, share: &Path) -> io::Result<()> {
    let name = command.get_name().to_string();
    // Before the completions add `help` to it, for each verb again.
    let pages = command.clone().disable_help_subcommand(true);
    for (shell, folder) in COMPLETIONS {
        let folder = share.join(folder);
        fs::create_dir_all(&folder)?;
        let file = generate_to(shell, &mut command, &name, &folder)?;
        if shell == Shell::Bash {
            // Bash loads what is called as the program is.
            fs::rename(file, folder.join(&name))?;
        }
    }
    let folder = share.join("man/man1");
    fs::create_dir_all(&folder)?;
    clap_mangen::generate_to(pages, folder)
}
