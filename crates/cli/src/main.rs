//! The command line: one file a verb.

mod inputs;
mod length;
mod reports;
mod results;
mod score;
mod scoring;
mod skim;
mod summarise;
mod teach;
mod timelapse;
mod watch;

use std::{path::PathBuf, process::ExitCode};

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use desumnet_files::whole_file;
use desumnet_media::secrets;

/// Scores how much every moment of a video matters, and makes skims and time-lapses of it
#[derive(Parser)]
#[command(name = "desumnet", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Score(score::Args),
    Skim(skim::Args),
    Timelapse(timelapse::Args),
    Teach(teach::Args),
    Watch(Box<watch::Args>),
    /// Writes man pages and shell completions, for packages
    #[command(hide = true)]
    Manual {
        /// As /usr/share
        share: PathBuf,
    },
}

/// The command line. Cameras mostly show what is of no category.
fn command() -> Command {
    Cli::command().mut_subcommand("watch", |c| c.mut_arg("importance", |arg| arg.default_value("unusual")))
}

fn run(cli: &Cli) -> Result<(), Box<dyn std::error::Error>> {
    gst::init()?;
    gstdesumnet::plugin_register_static()?;
    // Ctrl-C, or an end by the system: no half file stays. What is watched is finished first, unless it comes twice.
    ctrlc::set_handler(|| {
        if watch::stop() {
            return;
        }
        whole_file::discard();
        std::process::exit(130);
    })?;
    match &cli.verb {
        Verb::Score(args) => score::run(args),
        Verb::Skim(args) => skim::run(args),
        Verb::Timelapse(args) => timelapse::run(args),
        Verb::Teach(args) => teach::run(args),
        Verb::Watch(args) => watch::run(args),
        Verb::Manual { share } => Ok(desumnet_command_line::manual::write(command(), share)?),
    }
}

fn main() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = parsed.unwrap_or_else(|error| {
        let told = error.render().to_string();
        let safe = secrets::hide(&told);
        if safe != told {
            // It repeats a URL.
            eprint!("{safe}");
            std::process::exit(error.exit_code());
        }
        error.exit()
    });
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            desumnet_command_line::tell::say(format_args!("desumnet: {error}"));
            ExitCode::FAILURE
        }
    }
}
