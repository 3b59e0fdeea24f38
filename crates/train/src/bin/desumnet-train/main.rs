//! Offline training and measuring of DeSumNet models: one file a verb.

/// Says a line on standard error, written as for `format!`. That nobody listens any more ends no training.
macro_rules! say {
    ($($line:tt)*) => { desumnet_command_line::tell::say(format_args!($($line)*)) };
}

mod accuracy;
mod adapt;
mod calibrate;
mod compose;
mod data;
mod distil;
mod evaluate;
mod finetune;
mod import;
mod localise;
mod pretrain;
mod rate;
mod train;

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

/// Trains DeSumNet models for the GStreamer element `desumnet`
///
/// The paper's way (ICCV 2017, section 4): `pretrain` on any labelled videos, `finetune` on the categories that matter, `adapt`
/// with untrimmed web videos of them. Defaults are the paper's values; "our choice" marks what the paper has otherwise or not at all.
#[derive(Parser)]
#[command(name = "desumnet-train", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Compose(compose::Args),
    Localise(localise::Args),
    Evaluate(evaluate::Args),
    Distil(distil::Args),
    Rate(rate::Args),
    Pretrain(pretrain::Args),
    Finetune(finetune::Args),
    Adapt(adapt::Args),
    Accuracy(accuracy::Args),
    Calibrate(calibrate::Args),
    Import(import::Args),
    /// Writes man pages and shell completions, for packages
    #[command(hide = true)]
    Manual {
        /// As /usr/share
        share: PathBuf,
    },
}

/// Makes freed memory stay with the process. Training allocates the same hundreds of megabytes at every step; returned to
/// the system each time, their page faults cost more than the convolutions.
fn keep_memory() {
    // SAFETY: no other thread runs yet; the calls only change the allocator's thresholds and an own variable.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        libc::mallopt(libc::M_TOP_PAD, 256 << 20);
        // libtorch: large tensors in large pages.
        std::env::set_var("THP_MEM_ALLOC_ENABLE", "1");
    }
}

fn command() -> Command {
    Cli::command()
        .mut_subcommand("finetune", |c| train::with_defaults(c, &finetune::DEFAULTS))
        .mut_subcommand("adapt", |c| {
            train::with_defaults(c, &adapt::DEFAULTS).mut_arg("data", |arg| arg.required(false).help(adapt::DATA))
        })
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error>> {
    gst::init()?;
    match &cli.verb {
        Verb::Pretrain(args) => pretrain::run(args),
        Verb::Distil(args) => distil::run(args),
        Verb::Finetune(args) => finetune::run(args),
        Verb::Adapt(args) => adapt::run(args),
        Verb::Accuracy(args) => accuracy::run(args),
        Verb::Calibrate(args) => calibrate::run(args),
        Verb::Compose(args) => compose::run(args),
        Verb::Localise(args) => localise::run(args),
        Verb::Evaluate(args) => evaluate::run(args),
        Verb::Rate(args) => rate::run(args),
        Verb::Import(args) => import::run(args),
        Verb::Manual { share } => Ok(desumnet_command_line::manual::write(command(), share)?),
    }
}

fn main() -> ExitCode {
    desumnet_torch::link();
    keep_memory();
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("desumnet-train: {error}");
            ExitCode::FAILURE
        }
    }
}
