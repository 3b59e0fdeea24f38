//! The command line: one file a verb.

mod score;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Scores how much every moment of a video matters
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Score(score::Args),
}

fn main() -> ExitCode {
    let Cli { verb: Verb::Score(args) } = Cli::parse();
    match score::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("desumnet: {error}");
            ExitCode::FAILURE
        }
    }
}
