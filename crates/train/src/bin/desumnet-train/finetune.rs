//! `desumnet-train finetune`: a model for other categories than those that it was trained on (paper, sections 3.2 and 4).

use std::{error::Error, iter, path::PathBuf};

use desumnet_engine::network::Model;
use desumnet_train::training::{
    data::{Seen, source::unlabelled},
    network::Fc6,
    settings::above_zero,
    trainer::Start,
};

use crate::{data, train};

/// Trains all layers of a model further, for new categories: with a new fc8 that learns faster
#[derive(clap::Args)]
pub struct Args {
    /// The model to begin from, as `pretrain` or `import` makes it
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    source: data::Source,
    #[command(flatten)]
    validation: data::Validation,
    /// Videos that show none of the categories, for the model to learn that they don't (our choice): folders, however deep, CSV files
    /// as of --data, or files
    #[arg(long, value_name = "DIR|CSV|FILE", num_args = 1..)]
    none: Vec<PathBuf>,
    /// A network whose features the trunk goes on giving while it learns the categories, as distil's --teacher (our choice): what it knows
    /// of other footage then stays
    #[arg(long, value_name = "FILE")]
    teacher: Option<PathBuf>,
    /// First learning rate of the new fc8 (paper, section 4: 0.003)
    #[arg(long, default_value_t = 0.003, value_parser = above_zero)]
    fc8_learning_rate: f64,
    #[command(flatten)]
    run: train::Flags,
}

/// Where fine-tuning's defaults are others than pre-training's.
pub const DEFAULTS: [(&str, &str, &str); 2] = [
    ("epochs", "7", "Passes over the videos with whole clips (paper, section 4: 7)"),
    (
        "learning_rate",
        "0.0003",
        "First (step) or highest (cosine) learning rate of all layers but fc8 (paper, section 4: 0.0003)",
    ),
];

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let model = Model::load(&args.model)?;
    if !args.run.begins(Fc6::of_model(&model)?.0, iter::once(&args.model).chain(&args.teacher))? {
        return Ok(());
    }
    let (mut data, validation) = args.source.for_training(&args.validation)?;
    if !args.none.is_empty() {
        let mut none = data::of_any_length(unlabelled(&args.none)?, &args.source.cache(), "videos of none")?.videos;
        let of_one = data.videos.iter().chain(validation.iter().flat_map(|set| &set.videos));
        let (of_one, all) = (Seen::of(of_one.map(|video| video.marks.as_slice())), none.len());
        none.retain(|video| !of_one.has(&video.marks));
        if none.len() < all {
            say!("videos of none left out, as --data or --validation has them: {}", all - none.len());
        }
        data.none = none;
    }
    data::warn_of_seen(&model, validation.as_ref());
    let mut provenance = train::made_by("finetune");
    if let Some(teacher) = &args.teacher {
        data.lessons = Some(data::lessons(teacher, args.run.device_name(), &data)?);
        provenance["teacher"] = train::file_name(teacher).into();
    }
    provenance["from"] = train::origin(&args.model, &model);
    let start = Start::NewCategories { model: &model, fc8_learning_rate: args.fc8_learning_rate };
    train::train(&args.run, &data, validation.as_ref(), &start, &provenance)
}
