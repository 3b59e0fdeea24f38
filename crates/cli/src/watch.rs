//! `desumnet watch`: the moments that mattered, of live cameras.

use std::{
    collections::BTreeSet,
    error::Error,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Sender, channel, sync_channel},
    },
    time::Duration,
};

use desumnet_decide::{
    online::{self, Online},
    threshold::{self, Threshold},
};
use desumnet_engine::unusual::importance_of;
use desumnet_watch::{
    camera::{Camera, Counted, Decide},
    cameras::{Cameras, named},
    clips::Desk,
    complaints::Say,
    events::{Outlet, Target, Trust},
    folder::Folder,
    keep::Keep,
    metrics::{Address, Counts, Endpoint, Metrics},
    ring::Limits,
    source::Stop,
};
use gst::prelude::*;

use crate::{
    length::{length, ratio},
    scoring::{Scoring, Yardstick},
};

/// Moments that come about once in so much time are kept, unless the user says otherwise.
const ONCE_IN: Duration = Duration::from_secs(3600);
/// The same of a head: what is likelier wanted than not.
const LIKELY: f64 = 0.5;
/// The same where importance is of a category: a share of the time.
const RATIO: f64 = 0.05;
/// Time whose share is kept: a day.
const WINDOW: Duration = Duration::from_secs(86_400);
/// How long a moment waits for what comes after it, where a share is kept.
const LOOK_AHEAD: Duration = Duration::from_secs(10);
/// How late a score may come for its moment to be there yet.
const SCORED_LATE: Duration = Duration::from_secs(30);
/// Bytes of a camera's streams that may wait to be decided on: half a minute of 30 Mbit/s.
const WAITING: usize = 128 << 20;

/// Messages that may wait to be written, and how long they may take in the end.
const MESSAGES: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(5);

/// What is being watched, for a signal to end.
static WATCHED: Mutex<Vec<Stop>> = Mutex::new(Vec::new());

/// Watches live cameras and leaves the moments that mattered as clips
///
/// The streams are kept as the cameras send them, never encoded anew. Runs until Ctrl-C or a signal, and then finishes its clips.
#[derive(clap::Args)]
pub struct Args {
    /// Cameras: rtsp://, srt://, http(s):// (HLS), v4l2:// or test:, or @FILE with one a line
    #[arg(required = true, value_name = "[NAME=]URI")]
    cameras: Vec<String>,
    /// Folder for the clips
    #[arg(long, value_name = "DIR")]
    clips: PathBuf,
    /// Share of the day that may be kept, whatever it shows: 2% or 0.02
    #[arg(long, value_parser = ratio, conflicts_with = "threshold")]
    ratio: Option<f64>,
    /// Keep what comes about once in so much time or more rarely: 1h, 30min; with another --importance than unusual, what scores as high as a
    /// number [default: 1h, or --ratio 5% with another --importance; of a head 0.5, what is likelier wanted than not]
    #[arg(long, value_name = "TIME|SCORE")]
    threshold: Option<Level>,
    /// Kept of what comes before a moment
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    pre_roll: Duration,
    /// Kept of what comes after a moment
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    post_roll: Duration,
    /// Shortest clip
    #[arg(long, default_value = "5s", value_parser = length)]
    min: Duration,
    /// Longest clip
    #[arg(long, default_value = "60s", value_parser = length)]
    max: Duration,
    /// Clips that stay: the newest up to a size (50GB) or an age (30d) [default: all]
    #[arg(long)]
    keep: Option<Keep>,
    /// Where events go: json:FILE, json:-, mqtt(s)://HOST/TOPIC, http(s)://..., or @FILE with one a line; may be given several times
    #[arg(long, value_name = "WHERE")]
    events: Vec<String>,
    /// Certificates (PEM) of the authorities that vouch for mqtts:// and https://, in place of the public ones
    #[arg(long, value_name = "FILE")]
    events_ca: Option<PathBuf>,
    /// Serve numbers for Prometheus at this port of loopback, or at ADDRESS:PORT
    #[arg(long, value_name = "PORT")]
    metrics: Option<Address>,
    #[command(flatten)]
    scoring: Scoring,
}

/// The moments that are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Level {
    /// Those that come about once in so much time, or more rarely.
    OnceIn(Duration),
    /// Those that score as high.
    Score(f64),
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(score) = text.parse::<f64>() {
            return if score.is_finite() { Ok(Self::Score(score)) } else { Err("give a finite score".into()) };
        }
        humantime::parse_duration(text).map(Self::OnceIn).map_err(|_| "give a time, such as 1h, or a score".into())
    }
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let level = args.level()?;
    if args.max < args.min {
        return Err("--max is shorter than --min, so that no clip can be right: make it longer".into());
    }
    let folder = Arc::new(Folder::open(&args.clips)?);
    let watched = args.watch(&folder, level);
    if watched.is_err() {
        folder.close();
    }
    watched
}

/// A function that says messages on the standard error output, and one that waits until all are written. They have a thread of their own: the output may
/// be a file on a disk that hangs, and those who say something never wait.
fn messages() -> (Say, impl FnOnce()) {
    enum Message {
        Text(String),
        Last(Sender<()>),
    }
    let (sender, messages) = sync_channel(MESSAGES);
    std::thread::spawn(move || {
        for message in messages {
            match message {
                Message::Text(text) => desumnet_command_line::tell::say(text),
                // Nobody waits any more only when it took too long.
                Message::Last(written) => drop(written.send(())),
            }
        }
    });
    let last = sender.clone();
    let say: Say = Arc::new(move |text| drop(sender.try_send(Message::Text(text))));
    let said = move || {
        let (written, all_written) = channel();
        if last.try_send(Message::Last(written)).is_ok() {
            let _ = all_written.recv_timeout(PATIENCE);
        }
    };
    (say, said)
}

/// The C library keeps what was freed, for each thread of its own: half of the process after half an hour, and more by the day.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(60));
            // SAFETY: any thread may ask for it at any time.
            unsafe { libc::malloc_trim(0) };
        }
    });
}

/// Ends what is being watched; false if nothing is, or it was ended before.
pub fn stop() -> bool {
    let stops = std::mem::take(&mut *watched_now());
    stops.iter().for_each(Stop::stop);
    !stops.is_empty()
}

fn watched_now() -> MutexGuard<'static, Vec<Stop>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Args {
    /// The moments to keep; `None`: a share.
    ///
    /// # Errors
    /// If the threshold is none of this importance; of the model.
    fn level(&self) -> Result<Option<Level>, Box<dyn Error>> {
        match (self.threshold, self.scoring.yardstick()?) {
            // All is kept, by whatever it is judged.
            (Some(Level::Score(score)), Yardstick::Usual) if score <= 0.0 => Ok(Some(Level::OnceIn(Duration::ZERO))),
            (Some(Level::Score(score)), Yardstick::Usual) => Err(format!(
                "--threshold {score} is a score, which says little of what is unusual: give a time, such as --threshold 1h"
            )
            .into()),
            (Some(Level::Score(score)), Yardstick::Either) if score <= 0.0 => Ok(self.threshold),
            (Some(_), Yardstick::Either) => Err("--threshold needs one scale, and --importance auto has two: give --importance unusual or weighted".into()),
            (Some(Level::OnceIn(_)), Yardstick::Category | Yardstick::Head) => {
                Err("--threshold with a time needs --importance unusual, and a model that is no head; give a score".into())
            }
            (None, Yardstick::Usual) if self.ratio.is_none() => Ok(Some(Level::OnceIn(ONCE_IN))),
            (None, Yardstick::Head) if self.ratio.is_none() => Ok(Some(Level::Score(LIKELY))),
            (threshold, _) => Ok(threshold),
        }
    }

    fn watch(&self, folder: &Arc<Folder>, level: Option<Level>) -> Result<(), Box<dyn Error>> {
        let counted = if let Some(Level::OnceIn(_)) = level { Counted::Importance } else { Counted::Score };
        let cameras_listed = listed(&self.cameras, "give a file with a camera a line")?;
        let events = listed(&self.events, "give a file with a place for events a line")?;
        let events = events.iter().map(|event| event.parse()).collect::<Result<Vec<Target>, _>>()?;
        let trust = self.events_ca.as_deref().map(Trust::read).transpose()?.unwrap_or_default();
        let (say, said) = messages();
        let open = |target: Target| Outlet::open(target, &trust, say.clone());
        let outlets = Arc::new(events.into_iter().map(open).collect::<Result<Vec<_>, _>>()?);
        let (mut cameras, mut taken) = (Vec::new(), BTreeSet::new());
        let mut metrics = Metrics { cameras: Vec::new(), lost: outlets.iter().map(Outlet::lost).collect() };
        for camera in cameras_listed {
            let (name, uri) = named(&camera, &mut taken);
            let counts = Arc::new(Counts::default());
            metrics.cameras.push((name.clone(), counts.clone()));
            let desk = Desk {
                camera: name,
                limits: Limits { time: (LOOK_AHEAD + self.pre_roll + SCORED_LATE).as_nanos() as u64, bytes: WAITING },
                longest: self.max.as_nanos() as u64,
                folder: folder.clone(),
                keep: self.keep,
                outlets: outlets.clone(),
                counts,
                say: say.clone(),
            };
            let usual = self.clips.join(format!(".usual-{}.json", desk.camera));
            cameras.push(Camera::new(&uri, &self.scorer(&usual)?, self.decider(level), counted, desk)?);
        }
        let _endpoint = self.metrics.map(|address| Endpoint::open(address, metrics)).transpose()?;
        let (all, mut watched) = (cameras.len(), Cameras::default());
        cameras.into_iter().for_each(|camera| watched.watch(camera, say.clone()));
        watched_now().extend(watched.stop_handles());
        give_back_memory();
        let failed = watched.wait();
        // They tell what they lose.
        drop(outlets);
        said();
        match failed {
            0 => Ok(()),
            failed => Err(format!("{failed} of {all} cameras could not be watched").into()),
        }
    }

    /// The bin that scores a camera's pictures.
    fn scorer(&self, usual: &Path) -> Result<gst::Element, Box<dyn Error>> {
        let bin = gst::Bin::new();
        let score = self.scoring.element()?;
        score.set_property("usual-location", usual.to_str().ok_or("the path of --clips is not UTF-8: rename it")?);
        let sink = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build()?;
        bin.add_many([&score, &sink])?;
        score.link(&sink)?;
        let pad = score.static_pad("sink").ok_or("desumnet has no sink pad")?;
        bin.add_pad(&gst::GhostPad::with_target(&pad)?)?;
        Ok(bin.upcast())
    }

    fn decider(&self, level: Option<Level>) -> Box<dyn Decide> {
        let ns = |time: Duration| time.as_nanos() as u64;
        let (pre_roll, post_roll, min_clip) = (ns(self.pre_roll), ns(self.post_roll), ns(self.min));
        let score = level.map(|level| match level {
            Level::Score(score) => score,
            Level::OnceIn(time) => importance_of(time.as_secs_f64() / 3600.0).into(),
        });
        match score {
            Some(score) => Box::new(Threshold::new(threshold::Settings { score, min_clip, pre_roll, post_roll })),
            None => Box::new(Online::new(online::Settings {
                ratio: self.ratio.unwrap_or(RATIO),
                window: ns(WINDOW),
                look_ahead: ns(LOOK_AHEAD),
                min_clip,
                max_clip: ns(self.max),
                pre_roll,
                post_roll,
                ..Default::default()
            })),
        }
    }
}

/// What is given, with what is in files in place of `@FILE`: what a password is in need not be on the command line.
fn listed(given: &[String], remedy: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for one in given {
        match one.strip_prefix('@') {
            Some(path) => all.extend(lines(Path::new(path), remedy)?),
            None => all.push(one.clone()),
        }
    }
    Ok(all)
}

/// One a line; what begins with `#` is none.
fn lines(path: &Path, remedy: &str) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}; {remedy}", path.display()))?;
    // Windows' editors begin a file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_are_listed_in_files() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("cameras");
        let given = ["test:".into(), format!("@{}", path.display())];
        let listed = || listed(&given, "remedy");
        let expected = ["test:", "yard=rtsp://u:p@cam/live", "rtsp://cam2/live"];
        for text in [
            "# outside\nyard=rtsp://u:p@cam/live\n\n  rtsp://cam2/live\n",
            "\u{feff}# outside\r\nyard=rtsp://u:p@cam/live\r\n\r\nrtsp://cam2/live\r\n",
            "\u{feff}yard=rtsp://u:p@cam/live\nrtsp://cam2/live",
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(listed().unwrap(), expected);
        }
        std::fs::remove_file(&path).unwrap();
        assert!(listed().unwrap_err().ends_with("os error 2); remedy"));
    }
}
