//! `desumnet-train adapt`: a fine-tuned model trained further with web videos, of which it keeps what it recognises (paper,
//! sections 3.2 and 4).

use std::{collections::BTreeMap, error::Error, path::PathBuf};

use desumnet_engine::network::Model;
use desumnet_files::whole_file;
use desumnet_train::training::{
    data::Dataset,
    network::Fc6,
    refine::{Judged, refine},
    settings::positive,
    trainer::Start,
};

use crate::{
    data::{self, progress_bar},
    train,
};

/// Trains a fine-tuned model further with untrimmed web videos, of which it keeps the segments that it finds likely
#[derive(clap::Args)]
pub struct Args {
    /// The fine-tuned model
    #[arg(long)]
    model: PathBuf,
    /// Untrimmed videos: a folder with a folder of videos per category of the model's, about 30 each (paper, section 3.2)
    #[arg(long, value_name = "DIR|CSV")]
    web: PathBuf,
    /// Least probability of the video's category that keeps a segment (the paper gives no value; our choice). 0 keeps all: the
    /// paper's "noisy web data"
    #[arg(long, default_value_t = 0.5, value_parser = probability)]
    threshold: f32,
    /// How many times --clips-per-video clips each web video has in an epoch, where that is a number: they are longer than others
    /// (our choice)
    #[arg(long, default_value_t = 4, value_parser = positive)]
    web_clips: usize,
    /// Train on the labelled videos of --data too (our choice: a category of which no web segment is kept is unlearnt otherwise)
    #[arg(long, requires = "data")]
    with_labelled: bool,
    /// Write what was found in each segment, kept or not, to this CSV file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    source: data::Source,
    #[command(flatten)]
    validation: data::Validation,
    #[command(flatten)]
    run: train::Flags,
}

/// The help of `--data`, which may be left out here.
pub const DATA: &str = "Labelled videos, as `finetune` takes them: those held out measure the training; the others are trained on only with \
                        --with-labelled";

/// Where adaptation's defaults are others than pre-training's.
pub const DEFAULTS: [(&str, &str, &str); 2] = [
    ("epochs", "10", "Passes over the videos with whole clips (paper, section 4: 10 on CoSum, 6 on TVSum)"),
    ("learning_rate", "0.0003", "First (step) or highest (cosine) learning rate (the paper gives none; fine-tuning's)"),
];

fn probability(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|p| (0.0..=1.0).contains(p)).ok_or_else(|| "give a probability, 0 to 1".into())
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let model = Model::load(&args.model)?;
    if !args.run.begins(Fc6::of_model(&model)?.0, [&args.model])? {
        return Ok(());
    }
    let categories = &model.header.categories;
    let data::Adapting { web: mut data, labelled, validation } =
        args.source.for_adapting(&args.web, args.with_labelled, &args.validation, categories)?;
    data::warn_of_seen(&model, validation.as_ref());
    let mut provenance = train::made_by("adapt");
    provenance["from"] = train::origin(&args.model, &model);
    provenance["web"] = serde_json::json!({ "videos": data.videos.len(), "with_labelled": args.with_labelled, "threshold": args.threshold });
    // What is kept whole need not be judged, unless somebody wants to know.
    if args.threshold > 0.0 || args.report.is_some() {
        let judged = judge(args, &mut data)?;
        let kept = judged.iter().filter(|segment| segment.kept).count();
        provenance["web"]["segments"] = judged.len().into();
        provenance["web"]["segments_kept"] = kept.into();
    }
    data.videos.iter_mut().for_each(|video| video.draws = args.web_clips);
    data.videos.extend(labelled.into_iter().flat_map(|set| set.videos));
    check_categories(&data)?;
    train::train(&args.run, &data, validation.as_ref(), &Start::SameCategories { model: &model }, &provenance)
}

/// Says which categories will be unlearnt.
///
/// # Errors
/// If fewer than two are left.
fn check_categories(data: &Dataset) -> Result<(), Box<dyn Error>> {
    let without = |number: &usize| data.videos.iter().all(|video| video.category != *number);
    let unlearnt: Vec<&str> =
        (0..data.categories.len()).filter(without).map(|number| data.categories[number].as_str()).collect();
    let remedy =
        "give web videos of them, lower --threshold, or train on labelled videos too (--data, --with-labelled)";
    if unlearnt.len() + 2 > data.categories.len() {
        return Err(format!(
            "a network learns to tell at least two categories apart, and no video is left of {}: {remedy}",
            unlearnt.join(", ")
        )
        .into());
    }
    if !unlearnt.is_empty() {
        say!(
            "desumnet-train: warning: no video is left of {}, so that they are unlearnt: {remedy}",
            unlearnt.join(", ")
        );
    }
    Ok(())
}

/// Leaves the likely segments in the web videos, and says what that comes to.
fn judge(args: &Args, web: &mut Dataset) -> Result<Vec<Judged>, Box<dyn Error>> {
    let network = args.run.network(&args.model)?;
    let bar = progress_bar("refining", "web videos")?;
    bar.set_length(web.videos.len() as u64);
    let judged = refine(&network, web, args.threshold, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    if let Some(path) = &args.report {
        let mut table = csv::Writer::from_writer(Vec::new());
        judged.iter().try_for_each(|segment| table.serialize(segment))?;
        whole_file::write(path, &table.into_inner()?).map_err(|e| {
            format!("{} can't be written: {e}; check the folder and the free disk space", path.display())
        })?;
    }
    let mut of_category: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for segment in &judged {
        let (kept, all) = of_category.entry(&segment.category).or_default();
        *kept += usize::from(segment.kept);
        *all += 1;
    }
    for (category, (kept, all)) in &of_category {
        say!("{category}: kept {kept} of {all} segments");
    }
    if web.videos.is_empty() {
        return Err(format!(
            "no segment of {} reaches the threshold {}; lower --threshold, or give videos of the model's categories",
            args.web.display(),
            args.threshold
        )
        .into());
    }
    Ok(judged)
}
