//! `desumnet-train calibrate`: how sure a model may be, and when none of its categories fits (our choice, not in the paper).

use std::{error::Error, path::PathBuf};

use desumnet_engine::{
    named::named,
    network::{Calibration, Device, Model, Network, Precision},
};
use desumnet_train::training::{
    calibration::{Found, calibrate, predicted},
    data::{Seen, source::unlabelled},
};

use crate::data::{self, Measured, progress_bar};

/// Measures how sure a model may be of a category, and from where on one fits a video at all, and writes that into the model
///
/// Takes videos that the model was not trained on: those with a category, and those that show none. The model that it writes names the same
/// categories as before; `importance=auto` asks it whether they fit.
#[derive(clap::Args)]
pub struct Args {
    /// The model
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    #[command(flatten)]
    source: data::Source,
    /// Videos that show none of the categories: folders, however deep, CSV files as of --data, or files
    #[arg(long, value_name = "DIR|CSV|FILE", required = true, num_args = 1..)]
    none: Vec<PathBuf>,
    /// Least share of the videos with a category that keep one
    #[arg(long, value_name = "SHARE", default_value_t = 0.95, value_parser = kept)]
    keep: f64,
    /// The calibrated model
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Measure on videos that the model was trained on, too: of those it is surer than of others
    #[arg(long)]
    all: bool,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// auto, f32, bf16 or f16
    #[arg(long, default_value = "auto", value_parser = named::<Precision>)]
    precision: Precision,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut model = Model::load(&args.model)?;
    let network = Network::load(&args.model, args.device, args.precision)?;
    let Measured { set, left_out, .. } = args.source.for_measuring(&args.model, &network.header, args.all)?;
    if left_out > 0 {
        say!("{} was trained on {left_out} of the videos: left out", args.model.display());
    }
    crate::train::check_writable(&args.output)?;
    let mut none = data::open(unlabelled(&args.none)?, &args.source.cache(), "videos of none")?;
    let found = none.videos.len();
    if let Some(seen) = Seen::told(&without_distillation(&network.header.provenance)).filter(|_| !args.all) {
        none.videos.retain(|video| !seen.has(&video.marks));
    }
    if none.videos.is_empty() {
        return Err(format!(
            "the model was trained on all {found} videos of --none: give others, or --all to take these nevertheless"
        )
        .into());
    }
    if none.videos.len() < found {
        say!("{} was trained on {} of the videos of none: left out", args.model.display(), found - none.videos.len());
    }
    let bar = progress_bar("naming", "videos")?;
    bar.set_length((set.videos.len() + none.videos.len()) as u64);
    let mut videos = predicted(&network, &set, false, |done| bar.set_position(done as u64))?;
    videos.extend(predicted(&network, &none, true, |done| bar.set_position((set.videos.len() + done) as u64))?);
    bar.finish_and_clear();
    let found = calibrate(&videos, args.keep).ok_or("no video with a category is left to calibrate on: give more")?;
    let Found { calibration: Calibration { temperature, fits }, loss, kept, wrongly } = found;
    say!("temperature {temperature:.3}: -ln p of the right category {:.3} -> {:.3}", loss[0], loss[1]);
    say!(
        "a category fits from a mean probability of {fits:.3} on: {kept:.3} of {} videos keep one, {wrongly:.3} of {} that show none get one",
        set.videos.len(),
        none.videos.len()
    );
    model.calibrate(found.calibration);
    let told =
        serde_json::json!({ "videos": set.videos.len(), "none": none.videos.len(), "keep": args.keep, "found": found });
    match model.header.provenance.as_object_mut() {
        Some(provenance) => drop(provenance.insert("calibration".into(), told)),
        None => model.header.provenance = serde_json::json!({ "from": model.header.provenance, "calibration": told }),
    }
    model.save(&args.output, model.storage)?;
    Ok(())
}

/// A share that is kept: above 0, to 1.
fn kept(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n| *n > 0.0 && *n <= 1.0).ok_or_else(|| "give a number above 0, to 1".into())
}

/// A model's provenance without the trainings by a teacher: what they saw, they were told no category of.
fn without_distillation(provenance: &serde_json::Value) -> serde_json::Value {
    let mut own = provenance.clone();
    while let Some(from) = own.get("from").map(|from| &from["provenance"]).filter(|from| is_distilled(from)) {
        own["from"] = from["from"].clone();
    }
    if let Some(before) = own.get("from").map(|from| without_distillation(&from["provenance"])) {
        own["from"]["provenance"] = before;
    }
    own
}

fn is_distilled(provenance: &serde_json::Value) -> bool {
    provenance["made_by"].as_str().is_some_and(|by| by.starts_with("desumnet-train distil"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_teacher_was_asked_about_alone_may_be_asked_about() {
        let by = |verb: &str, recordings: &str, from: serde_json::Value| {
            serde_json::json!({ "provenance": {
                "made_by": format!("desumnet-train {verb} 0.1.0"), "data": { "recordings": recordings }, "from": from,
            } })
        };
        let first = by("pretrain", "aaaaaaaaaaaa", serde_json::Value::Null);
        let taught = by("distil", "bbbbbbbbbbbb", by("distil", "cccccccccccc", first));
        let last = by("finetune", "dddddddddddd", by("adapt", "eeeeeeeeeeee", taught));
        let left = without_distillation(&last["provenance"]).to_string();
        let has = ["aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc", "dddddddddddd", "eeeeeeeeeeee"]
            .map(|of| left.contains(of));
        assert_eq!(has, [true, false, false, true, true]);
    }
}
