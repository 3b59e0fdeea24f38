//! `desumnet-train distil`: a trunk that gives what another network gives, from videos without categories (our choice, not in the paper).

use std::{error::Error, iter, path::PathBuf};

use desumnet_engine::network::{Model, WIDTHS};
use desumnet_train::training::{data::source::unlabelled, network::Fc6, trainer::Start};

use crate::{data, train};

/// Trains a network to give the features that another network, the teacher, gives of each clip; `finetune` takes it from there
///
/// Needs no categories: any footage will do, and much of it helps. What the trunk learns to see is what the
/// teacher sees. Not in the paper.
#[derive(clap::Args)]
pub struct Args {
    /// The teacher: TorchScript that gives features as a second output, its JSON file beside it (examples/export_efficientnet_lite0.py),
    /// or a model of desumnet-train
    #[arg(long, value_name = "FILE")]
    teacher: PathBuf,
    /// A model whose trunk learns further, with a new last layer; without it, training begins from random weights
    #[arg(long, value_name = "FILE", conflicts_with = "fc6")]
    model: Option<PathBuf>,
    /// Videos: folders, however deep, CSV files with the columns path,category, or files. May be given several times
    #[arg(long, value_name = "DIR|CSV|FILE", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Videos that must not be learnt from, as --data: those that will validate and test the network. Their recordings are left out
    #[arg(long, value_name = "DIR|CSV|FILE", num_args = 1..)]
    without: Vec<PathBuf>,
    /// Where decoded frames and the teacher's features are kept [default: desumnet in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Weights of fc6: one for each of a filter's 16 places, or one for all of them (paper, section 3.2: full)
    #[arg(long, value_enum, default_value_t = Fc6::Full)]
    fc6: Fc6,
    #[command(flatten)]
    run: train::Flags,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let model = args.model.as_deref().map(Model::load).transpose()?;
    let fc6 = model.as_ref().map_or(Ok(args.fc6), |model| Fc6::of_model(model).map(|(fc6, _)| fc6))?;
    if !args.run.begins(fc6, iter::once(&args.teacher).chain(&args.model))? {
        return Ok(());
    }
    let mut listing = unlabelled(&args.data)?;
    if !args.without.is_empty() {
        let left_out = listing.leave_out(&unlabelled(&args.without)?);
        eprintln!("videos left out, as --without has their recordings: {left_out}");
    }
    let mut data = data::of_any_length(listing, &data::cache(args.cache.as_deref()), "videos")?;
    data.lessons = Some(data::lessons(&args.teacher, args.run.device_name(), &data)?);
    let mut provenance = train::made_by("distil");
    provenance["teacher"] = train::file_name(&args.teacher).into();
    let start = match (&model, &args.model) {
        (Some(model), Some(path)) => {
            provenance["from"] = train::origin(path, model);
            Start::NewCategories { model, fc8_learning_rate: args.run.settings.learning_rate }
        }
        _ => Start::Scratch { widths: WIDTHS, fc6 },
    };
    train::train(&args.run, &data, None, &start, &provenance)
}
