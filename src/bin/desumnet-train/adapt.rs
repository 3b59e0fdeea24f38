//! `desumnet-train adapt`: a fine-tuned model trained further with web videos, of which it keeps what it recognises (paper,
//! sections 3.2 and 4).

use std::{collections::BTreeMap, error::Error, path::PathBuf};

use gstdesumnet::{
    network::{Model, Network},
    training::{
        data::Dataset,
        network::Fc6,
        refine::{Judged, refine},
        settings::positive,
        trainer::Start,
    },
    whole_file,
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
    /// Clips drawn from each web video in an epoch, before --clips-per-video; they are longer than others
    #[arg(long, default_value_t = 4, value_parser = positive)]
    web_clips: usize,
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
    if !args.run.begins(Fc6::of_model(&model)?.0, Some(&args.model))? {
        return Ok(());
    }
    let categories = &model.header.categories;
    let (mut data, validation) = args.source.for_training(&args.validation, Some(categories))?;
    let mut web = args.source.more(&args.web, categories, "web videos")?;
    let mut provenance = train::made_by("adapt");
    provenance["from"] = train::origin(&args.model, &model);
    provenance["web"] = serde_json::json!({ "videos": web.videos.len(), "threshold": args.threshold });
    // What is kept whole need not be judged, unless somebody wants to know.
    if args.threshold > 0.0 || args.report.is_some() {
        let judged = judge(args, &mut web)?;
        let kept = judged.iter().filter(|segment| segment.kept).count();
        provenance["web"]["segments"] = judged.len().into();
        provenance["web"]["segments_kept"] = kept.into();
    }
    web.videos.iter_mut().for_each(|video| video.draws = args.web_clips);
    data.videos.append(&mut web.videos);
    train::train(&args.run, &data, validation.as_ref(), &Start::SameCategories { model: &model }, &provenance)
}

/// Leaves the likely segments in the web videos, and says what that comes to.
fn judge(args: &Args, web: &mut Dataset) -> Result<Vec<Judged>, Box<dyn Error>> {
    let (device, kind) = args.run.device()?;
    let network = Network::new(Model::load(&args.model)?, device, kind)?;
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
        eprintln!("{category}: kept {kept} of {all} segments");
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
