//! `desumnet-train pretrain`: a model from scratch (paper, sections 3.2 and 4).

use std::error::Error;

use desumnet_engine::network::WIDTHS;
use desumnet_train::training::{network::Fc6, trainer::Start};

use crate::{data, train};

/// Trains a model from scratch (paper, section 4: on another data set than the target's, there UCF101)
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: data::Source,
    #[command(flatten)]
    validation: data::Validation,
    /// Weights of fc6: one for each of a filter's 16 places, or one for all of them (paper, section 3.2: full)
    #[arg(long, value_enum, default_value_t = Fc6::Full)]
    fc6: Fc6,
    #[command(flatten)]
    run: train::Flags,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if !args.run.begins(args.fc6, [])? {
        return Ok(());
    }
    let (data, validation) = args.source.for_training(&args.validation)?;
    let start = Start::Scratch { widths: WIDTHS, fc6: args.fc6 };
    train::train(&args.run, &data, validation.as_ref(), &start, &train::made_by("pretrain"))
}
