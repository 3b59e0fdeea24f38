//! `desumnet-train compose`: untrimmed videos whose relevant moments are known, of labelled clips.

use std::{error::Error, path::PathBuf};

use desumnet_train::training::compose::{self, Clips, Settings};
use indicatif::{ProgressBar, ProgressStyle};

/// Makes untrimmed videos of clips: in each, those of one category stand among others, and a JSON document says where
#[derive(clap::Args)]
pub struct Args {
    /// Folder of clips: DATA/CATEGORY/CLIP; each category gets videos
    #[arg(long)]
    data: PathBuf,
    /// Folder of further clips, OTHERS/CATEGORY/CLIP, that only stand among those of DATA
    #[arg(long)]
    others: Option<PathBuf>,
    /// Folder for the videos: OUTPUT/CATEGORY/CATEGORY_NN.mp4, and .json beside each
    #[arg(long)]
    output: PathBuf,
    /// Make videos anew that are there already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    settings: Settings,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if !args.force {
        compose::refuse_existing(&args.data, &args.output, &args.settings)?;
    }
    let bar =
        |template| Ok::<_, Box<dyn Error>>(ProgressBar::new(0).with_style(ProgressStyle::with_template(template)?));
    let reading = bar("reading clips {wide_bar} {pos}/{len}  {eta} left")?;
    let clips = Clips::read(&args.data, args.others.as_deref(), &args.settings, |done, all| {
        reading.set_length(all as u64);
        reading.set_position(done as u64);
    })?;
    reading.finish_and_clear();
    for broken in &clips.broken {
        say!("left out: {broken}");
    }
    let videos = clips.plan(&args.settings)?;
    let composing = bar("composing {wide_bar} {pos}/{len} frames  {per_sec}  {eta} left")?;
    compose::write(&videos, &args.output, &args.settings, |done, all| {
        composing.set_length(all as u64);
        composing.set_position(done as u64);
    })?;
    composing.finish_and_clear();
    for composite in videos.iter().map(|video| &video.composite) {
        // Frames are whole: a share can't be met better than to one of them.
        let short = args.settings.relevant - composite.relevant_share() > 1.0 / f64::from(composite.frames);
        if short {
            say!(
                "{}: {:.0} % is of the category instead of {:.0} %; its clips last no longer",
                composite.video,
                100.0 * composite.relevant_share(),
                100.0 * args.settings.relevant
            );
        }
    }
    let seconds = videos.iter().map(|video| video.composite.duration_ns).sum::<u64>() as f64 / 1e9;
    say!("{} videos, {:.1} min, written to {}", videos.len(), seconds / 60.0, args.output.display());
    Ok(())
}
