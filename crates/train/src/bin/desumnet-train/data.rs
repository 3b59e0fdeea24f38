//! Flags that say which videos, and their decoding with a progress bar.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use desumnet_engine::network::{Device, Header, Model, Network, Precision};
use desumnet_train::training::{
    data::{
        Dataset, Listing, Seen,
        source::{self, SourceError, Split},
    },
    settings::share,
    teacher::Lessons,
};
use indicatif::{ProgressBar, ProgressStyle};

/// Of a video of any length, every how many segments one more clip is drawn in an epoch.
const SEGMENTS_A_CLIP: usize = 8;

/// Where the videos are.
#[derive(clap::Args)]
pub struct Source {
    /// Videos with a category each: a folder with a folder of videos per category, or a CSV file with the columns
    /// path,category,split and perhaps group
    #[arg(long, value_name = "DIR|CSV", required = true)]
    data: Option<PathBuf>,
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
    /// Share of the videos for validation where the data sets none apart; whole recordings (one file, one group) of every
    /// category. 0: none (paper, section 4: 0.2)
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = share)]
    hold_out: f64,
    /// Which random split holds that share out, the same at every run; the paper's accuracy is the mean over five (section 4)
    #[arg(long, value_name = "N", default_value_t = 1)]
    split: u64,
}

/// Videos that adaptation goes by.
pub struct Adapting {
    pub web: Dataset,
    /// Labelled ones to train on too, if those are wanted.
    pub labelled: Option<Dataset>,
    /// Those to measure it by.
    pub validation: Option<Dataset>,
}

/// Videos to measure a model by.
pub struct Measured {
    pub set: Dataset,
    /// Videos left out, as the model was trained on their recordings.
    pub left_out: usize,
    /// Videos of the set whose recordings the model was trained on; `None` if it does not tell which those are.
    pub trained_on: Option<usize>,
}

impl Source {
    fn data(&self) -> Result<&Path, Box<dyn Error>> {
        self.data.as_deref().ok_or_else(|| "no videos are given: name them by --data".into())
    }

    fn split(&self) -> Result<Split, Box<dyn Error>> {
        let data = self.data()?;
        Ok(match &self.split_list {
            Some(list) => source::ucf101(data, list),
            None => source::read(data),
        }?)
    }

    /// The folder for decoded frames.
    pub fn cache(&self) -> PathBuf {
        cache(self.cache.as_deref())
    }

    fn open(&self, listing: Listing, what: &str) -> Result<Dataset, Box<dyn Error>> {
        open(listing, &self.cache(), what)
    }

    /// The videos to train on and those to measure it by, not decoded yet.
    fn listings(&self, validation: &Validation) -> Result<(Listing, Listing), Box<dyn Error>> {
        let Split { training, validation: apart } = self.split()?;
        let training = training.for_training(self.data()?)?;
        Ok(match (validation.listing()?, apart) {
            (Some(held), _) => {
                training.shares_nothing_with(&held)?;
                (training, held)
            }
            (None, Some(apart)) => (training, apart),
            (None, None) => training.hold_out(validation.hold_out, validation.split),
        })
    }

    /// The videos to train on and those to measure it by.
    pub fn for_training(&self, validation: &Validation) -> Result<(Dataset, Option<Dataset>), Box<dyn Error>> {
        let (training, held) = self.listings(validation)?;
        let categories = training.categories.clone();
        let held = self.validating(held, validation, &categories)?;
        Ok((self.open(training, "training")?, held))
    }

    /// The videos, of the model's categories. Web videos that a manifest does not mark for training are left out.
    pub fn for_adapting(
        &self,
        web: &Path,
        with_labelled: bool,
        validation: &Validation,
        categories: &[String],
    ) -> Result<Adapting, Box<dyn Error>> {
        let Split { training: listing, validation: apart } = source::read(web)?;
        if let Some(apart) = apart {
            say!("{} web videos are marked val or test: left out", apart.items.len());
        }
        if listing.items.is_empty() {
            return Err(SourceError::NoTraining { path: web.into() }.into());
        }
        let (labelled, held) = match &self.data {
            Some(_) => self.listings(validation)?,
            None => (Listing::default(), validation.listing()?.unwrap_or_default()),
        };
        listing.shares_nothing_with(&held)?;
        let listing = listing.numbered_as(categories, web)?;
        let labelled = match &self.data {
            Some(data) if with_labelled => Some(self.open(labelled.numbered_as(categories, data)?, "training")?),
            _ => None,
        };
        let held = self.validating(held, validation, categories)?;
        Ok(Adapting { web: self.open(listing, "web videos")?, labelled, validation: held })
    }

    fn validating(
        &self,
        held: Listing,
        validation: &Validation,
        categories: &[String],
    ) -> Result<Option<Dataset>, Box<dyn Error>> {
        if held.items.is_empty() {
            return Ok(None);
        }
        let path = validation.validation.as_deref().or(self.data.as_deref()).unwrap_or(Path::new(""));
        self.open(held.numbered_as(categories, path)?, "validation").map(Some)
    }

    /// The videos to measure a model by: those that the data sets apart, else all; without those that it was trained on, unless
    /// `all` are wanted.
    ///
    /// # Errors
    /// If none is left; if one is of another category, or they can't be read.
    pub fn for_measuring(&self, model: &Path, header: &Header, all: bool) -> Result<Measured, Box<dyn Error>> {
        let data = self.data()?;
        let Split { training, validation } = self.split()?;
        let mut listing = validation.unwrap_or(training).numbered_as(&header.categories, data)?;
        let (videos, mut left_out) = (listing.items.len(), 0);
        let seen = Seen::told(&header.provenance);
        if let Some(seen) = seen.as_ref().filter(|_| !all) {
            listing.items.retain(|item| !seen.has(&item.marks));
            left_out = videos - listing.items.len();
            if listing.items.is_empty() && videos > 0 {
                return Err(format!(
                    "{} was trained on all {videos} videos of {}, which would measure its memory: give videos that it has not seen, \
                     or --all to measure on these nevertheless",
                    model.display(),
                    data.display()
                )
                .into());
            }
        }
        let set = self.open(listing, "videos")?;
        let trained_on = seen.map(|seen| set.videos.iter().filter(|video| seen.has(&video.marks)).count());
        Ok(Measured { set, left_out, trained_on })
    }
}

impl Validation {
    /// The videos of `--validation`.
    fn listing(&self) -> Result<Option<Listing>, SourceError> {
        let Some(path) = &self.validation else { return Ok(None) };
        let Split { training: all, validation: apart } = source::read(path)?;
        Ok(Some(apart.unwrap_or(all)))
    }
}

/// Says if the model that training begins with has seen videos that are to measure it.
pub fn warn_of_seen(model: &Model, validation: Option<&Dataset>) {
    let (Some(seen), Some(set)) = (Seen::told(&model.header.provenance), validation) else { return };
    let count = set.videos.iter().filter(|video| seen.has(&video.marks)).count();
    if count > 0 {
        say!(
            "desumnet-train: warning: --model was trained on {count} of the {} videos for validation, which flatters it; \
             give others by --validation, or the --split that it was trained with",
            set.videos.len()
        );
    }
}

/// The folder for decoded frames: the one given, or the user's.
pub fn cache(given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| glib::user_cache_dir().join("desumnet"), Path::to_path_buf)
}

/// Decodes with a progress bar; names what was left out.
pub fn open(listing: Listing, cache: &Path, what: &str) -> Result<Dataset, Box<dyn Error>> {
    let bar = progress_bar(&format!("decoding {what}"), "videos")?;
    let set = Dataset::open(listing, cache, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    for broken in &set.broken {
        say!("left out: {broken}");
    }
    if !set.broken.is_empty() {
        say!("{} of the {what} left out, {} remain", set.broken.len(), set.videos.len());
    }
    Ok(set)
}

/// The same of videos of which some are much longer than others: of these, more clips are drawn in an epoch.
pub fn of_any_length(listing: Listing, cache: &Path, what: &str) -> Result<Dataset, Box<dyn Error>> {
    let mut set = open(listing, cache, what)?;
    for video in &mut set.videos {
        video.draws = 1 + video.stored.segments() / SEGMENTS_A_CLIP;
    }
    Ok(set)
}

/// A bar that counts `things` while it does `what`; off a terminal, a line that says so.
pub fn progress_bar(what: &str, things: &str) -> Result<ProgressBar, Box<dyn Error>> {
    let template = format!("{what} {{wide_bar}} {{pos}}/{{len}} {things}  {{eta}} left");
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(&template)?);
    if bar.is_hidden() {
        say!("{what}");
    }
    Ok(bar)
}

/// The teacher's features of all videos, those of none too.
pub fn lessons(teacher: &Path, device: Device, data: &Dataset) -> Result<Lessons, Box<dyn Error>> {
    let network = Network::load(teacher, device, Precision::Auto)?;
    let bar = progress_bar("asking the teacher", "videos")?;
    bar.set_length((data.videos.len() + data.none.len()) as u64);
    let lessons = Lessons::of(&network, teacher, data, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    Ok(lessons)
}
