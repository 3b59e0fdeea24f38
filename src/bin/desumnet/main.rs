//! The command line: one file a verb.

mod inputs;
mod length;
mod reports;
mod score;
mod scoring;
mod skim;
mod summarise;
mod timelapse;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gstdesumnet::whole_file;

/// Scores how much every moment of a video matters, and makes skims and time-lapses of it
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Score(score::Args),
    Skim(skim::Args),
    Timelapse(timelapse::Args),
}

fn run(cli: &Cli) -> Result<(), Box<dyn std::error::Error>> {
    gst::init()?;
    gstdesumnet::plugin_register_static()?;
    // Ctrl-C, or an end by the system: no half file stays.
    ctrlc::set_handler(|| {
        whole_file::discard();
        std::process::exit(130);
    })?;
    match &cli.verb {
        Verb::Score(args) => score::run(args),
        Verb::Skim(args) => skim::run(args),
        Verb::Timelapse(args) => timelapse::run(args),
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("desumnet: {error}");
            ExitCode::FAILURE
        }
    }
}
