//! Flags that say which videos, and their decoding with a progress bar.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use gstdesumnet::training::{
    data::{
        Dataset, Listing,
        source::{self, Split},
    },
    settings::share,
};
use indicatif::{ProgressBar, ProgressStyle};

/// Draws the videos that are held out.
const HOLD_OUT_SEED: u64 = 1;

/// Where the videos are.
#[derive(clap::Args)]
pub struct Source {
    /// Videos with a category each: a folder with a folder of videos per category, or a CSV file with the columns
    /// path,category,split
    #[arg(long, value_name = "DIR|CSV")]
    data: PathBuf,
    /// UCF101's official list, such as trainlist01.txt, with classInd.txt and testlist01.txt beside it; --data is then the
    /// folder UCF-101
    #[arg(long, value_name = "FILE")]
    split_list: Option<PathBuf>,
    /// Where decoded frames are kept, 15 to 25 kB each [default: desumnet in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Which videos measure the training.
#[derive(clap::Args)]
pub struct Validation {
    /// Videos for validation, as --data [default: those that the data sets apart, else a part of it]
    #[arg(long, value_name = "DIR|CSV")]
    validation: Option<PathBuf>,
    /// Share of the videos for validation where the data sets none apart; whole groups (UCF101's gNN) of every category.
    /// 0: none (paper, section 4: 0.2)
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = share)]
    hold_out: f64,
}

impl Source {
    fn split(&self) -> Result<Split, source::SourceError> {
        match &self.split_list {
            Some(list) => source::ucf101(&self.data, list),
            None => source::read(&self.data),
        }
    }

    fn open(&self, listing: Listing, what: &str) -> Result<Dataset, Box<dyn Error>> {
        let cache = self.cache.clone().unwrap_or_else(|| glib::user_cache_dir().join("desumnet"));
        open(listing, &cache, what)
    }

    /// The videos to train on and those to measure it by; of the given categories, in their order, where they are given.
    pub fn for_training(
        &self,
        validation: &Validation,
        categories: Option<&[String]>,
    ) -> Result<(Dataset, Option<Dataset>), Box<dyn Error>> {
        let Split { training, validation: apart } = self.split()?;
        let training = training.for_training(&self.data)?;
        let (training, held) = match (&validation.validation, apart) {
            (Some(path), _) => {
                let Split { training: all, validation: apart } = source::read(path)?;
                let held = apart.unwrap_or(all);
                training.shares_nothing_with(&held)?;
                (training, held)
            }
            (None, Some(apart)) => (training, apart),
            // The same at every run, so that no later step is measured by what an earlier one was trained on.
            (None, None) => training.hold_out(validation.hold_out, HOLD_OUT_SEED),
        };
        let categories = categories.map_or_else(|| training.categories.clone(), <[String]>::to_vec);
        let training = training.numbered_as(&categories, &self.data)?;
        let held = held.numbered_as(&categories, validation.validation.as_ref().unwrap_or(&self.data))?;
        let training = self.open(training, "training")?;
        let held = if held.items.is_empty() { None } else { Some(self.open(held, "validation")?) };
        Ok((training, held))
    }

    /// The videos to measure a model with these categories by: those that the data sets apart, else all.
    pub fn for_measuring(&self, categories: &[String]) -> Result<Dataset, Box<dyn Error>> {
        let Split { training, validation } = self.split()?;
        let listing = validation.unwrap_or(training).numbered_as(categories, &self.data)?;
        self.open(listing, "videos")
    }

    /// Further videos of the same categories.
    pub fn more(&self, path: &Path, categories: &[String], what: &str) -> Result<Dataset, Box<dyn Error>> {
        self.open(source::read(path)?.whole().numbered_as(categories, path)?, what)
    }
}

/// Decodes with a progress bar; names what was left out.
fn open(listing: Listing, cache: &Path, what: &str) -> Result<Dataset, Box<dyn Error>> {
    let bar = progress_bar(&format!("decoding {what}"), "videos")?;
    let set = Dataset::open(listing, cache, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    for broken in &set.broken {
        eprintln!("left out: {broken}");
    }
    if !set.broken.is_empty() {
        eprintln!("{} of the {what} left out, {} remain", set.broken.len(), set.videos.len());
    }
    Ok(set)
}

/// A bar that counts `things` while it does `what`; off a terminal, a line that says so.
pub fn progress_bar(what: &str, things: &str) -> Result<ProgressBar, Box<dyn Error>> {
    let template = format!("{what} {{wide_bar}} {{pos}}/{{len}} {things}  {{eta}} left");
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(&template)?);
    if bar.is_hidden() {
        eprintln!("{what}");
    }
    Ok(bar)
}
