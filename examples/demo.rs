//! Scores a video once and makes a skim and a time-lapse of it, the way an application uses the elements.
//!
//! `cargo run --release --example demo [VIDEO]` writes `out/skim.mp4`, `out/timelapse.mp4` and `out/scores.svg`. With no
//! video it renders a sample of its own.

use std::{error::Error, fs, ops::Range, path::Path, process::ExitCode};

use gst::prelude::*;
use gstdesumnet::{
    decode::{Decoder, uri_of},
    meta::MESSAGE_NAME,
    report::curve::{self, Bar},
};
use indicatif::{ProgressBar, ProgressStyle};

const SAMPLE: &str = "out/sample.mp4";
const SKIM: &str = "out/skim.mp4";
const TIME_LAPSE: &str = "out/timelapse.mp4";
const CURVE: &str = "out/scores.svg";
/// Share of the video that the skim keeps.
const RATIO: f64 = 0.2;
/// How much faster the time-lapse is.
const SPEED: f64 = 8.0;
/// Encoder and container of everything here.
const ENCODE: &str =
    "videoconvert ! video/x-raw,format=I420 ! x264enc speed-preset=veryfast pass=qual quantizer=22 ! mp4mux";

fn main() -> ExitCode {
    match run(std::env::args().nth(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(video: Option<String>) -> Result<(), Box<dyn Error>> {
    gst::init()?;
    gstdesumnet::plugin_register_static()?;
    fs::create_dir_all("out").map_err(|e| format!("the folder out/ can't be made: {e}"))?;
    let video = match video {
        Some(video) => video,
        None => render_sample()?,
    };
    // What can't be decoded is found out before anything is written.
    Decoder::open(&video)?.next_picture()?.ok_or_else(|| format!("{video} has no frames"))?;
    let made = summarise(&video).inspect_err(|_| {
        for half in [SKIM, TIME_LAPSE] {
            let _ = fs::remove_file(half);
        }
    })?;
    let spans: Vec<Range<f64>> = made.clips.iter().map(|clip| clip.time.clone()).collect();
    let name = Path::new(&video).file_name().unwrap_or_default().to_string_lossy();
    fs::write(CURVE, curve::svg(&format!("{name}: importance, and what the skim keeps"), &made.bars, &spans)?)?;
    made.tell(&video)
}

/// Thirty seconds with calm and lively stretches, so that there is something to choose.
fn render_sample() -> Result<String, Box<dyn Error>> {
    eprintln!("no VIDEO given: rendering {SAMPLE}");
    let scenes =
        ["smpte", "ball", "gradient", "pinwheel", "black", "circular", "solid-color", "spokes", "ball", "smpte75"];
    let mut description =
        format!("concat name=c ! identity single-segment=true ! {ENCODE} ! filesink location={SAMPLE}");
    for (i, pattern) in scenes.iter().enumerate() {
        let motion = if i % 4 == 1 { "motion=sweep animation-mode=frames" } else { "horizontal-speed=3" };
        description += &format!(
            " videotestsrc pattern={pattern} {motion} num-buffers=90 foreground-color=0xff30a0e0 \
             ! video/x-raw,width=480,height=360,framerate=30/1 ! c."
        );
    }
    let pipeline = gst::parse::launch(&description)?.downcast::<gst::Pipeline>().map_err(|_| "not a pipeline")?;
    watch(&pipeline, |_| {})?;
    Ok(SAMPLE.into())
}

/// A run of segments that the skim keeps.
struct Clip {
    /// In the input, seconds.
    time: Range<f64>,
    importance: f64,
    category: String,
    reason: String,
}

#[derive(Default)]
struct Made {
    bars: Vec<Bar>,
    clips: Vec<Clip>,
    category: String,
    stats: Option<gst::Structure>,
}

/// One pipeline, scored once: the skim and the time-lapse are two branches behind a tee.
fn summarise(video: &str) -> Result<Made, Box<dyn Error>> {
    let uri = uri_of(video)?;
    // Neither file waits for the other to begin (async=false): the time-lapse's first frame takes eight times as long.
    let description = format!(
        "uridecodebin name=source ! videoconvert ! desumnet name=score post-messages=true ! tee name=t \
         t. ! queue ! desumskim mode=skim ratio={RATIO} ! {ENCODE} ! filesink async=false location={SKIM} \
         t. ! queue ! desumskim mode=timelapse speed={SPEED} ! {ENCODE} ! filesink async=false location={TIME_LAPSE}"
    );
    let pipeline = gst::parse::launch(&description)?.downcast::<gst::Pipeline>().map_err(|_| "not a pipeline")?;
    pipeline.by_name("source").ok_or("no source")?.set_property("uri", &uri);
    let bar = ProgressBar::new(0)
        .with_style(ProgressStyle::with_template("scoring {wide_bar} {pos}/{len} s of video  {eta} left  {msg}")?);
    let mut made = Made::default();
    watch(&pipeline, |structure| {
        let seconds =
            |field: &str| structure.get::<gst::ClockTime>(field).ok().map_or(0.0, |t| t.nseconds() as f64 / 1e9);
        let number = |field: &str| structure.get::<f64>(field).unwrap_or(0.0);
        let text = |field: &str| structure.get::<String>(field).unwrap_or_default();
        match structure.name().as_str() {
            MESSAGE_NAME => {
                let start = seconds("start");
                made.bars.push(Bar { time: start..start + seconds("duration"), importance: number("importance") });
                made.category = text("category");
                bar.set_length(pipeline.query_duration::<gst::ClockTime>().map_or(0, gst::ClockTime::seconds));
                bar.set_position(start as u64);
                bar.set_message(format!("{} clips", made.clips.len()));
            }
            "clip-end" => made.clips.push(Clip {
                time: seconds("start")..seconds("end"),
                importance: number("importance"),
                category: text("category"),
                reason: text("reason"),
            }),
            _ => {}
        }
    })?;
    bar.finish_and_clear();
    made.stats = pipeline.by_name("score").map(|score| score.property("stats"));
    Ok(made)
}

/// Plays a pipeline to its end; element messages go to `each`.
fn watch(pipeline: &gst::Pipeline, mut each: impl FnMut(&gst::StructureRef)) -> Result<(), Box<dyn Error>> {
    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    let started = pipeline.set_state(gst::State::Playing);
    let mut outcome = Ok(());
    for message in bus.iter_timed(gst::ClockTime::NONE) {
        match message.view() {
            gst::MessageView::Element(element) => element.structure().into_iter().for_each(&mut each),
            gst::MessageView::Warning(warning) => eprintln!("demo: {}", warning.error()),
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(error) => {
                outcome = Err(error.error().to_string().into());
                break;
            }
            _ => {}
        }
        // The error that explains it is on the bus by then.
        if started.is_err() && bus.peek().is_none() {
            outcome = Err("the pipeline does not start".into());
            break;
        }
    }
    pipeline.set_state(gst::State::Null)?;
    outcome
}

impl Made {
    /// What was chosen, and why.
    fn tell(&self, video: &str) -> Result<(), Box<dyn Error>> {
        let clock = |seconds: f64| format!("{}:{:04.1}", seconds as u64 / 60, seconds % 60.0);
        let length = |file: &str| -> Result<f64, Box<dyn Error>> {
            let mut decoder = Decoder::open(file)?;
            decoder.next_picture()?;
            Ok(decoder.duration().unwrap_or(0) as f64 / 1e9)
        };
        let whole = self.bars.last().map_or(0.0, |bar| bar.time.end);
        println!("{video}: {} long, {} segments, category {}", clock(whole), self.bars.len(), self.category);
        if let Some(mean) = self.stats.as_ref().and_then(|stats| stats.get::<u64>("mean-inference-time").ok()) {
            println!("scoring took {:.2} s a segment", mean as f64 / 1e9);
        }
        let skim = length(SKIM)?;
        println!(
            "\n{SKIM}: {} ({:.0} % of the video), the moments that answer most to the category:",
            clock(skim),
            100.0 * skim / whole
        );
        for clip in &self.clips {
            let why = match clip.reason.as_str() {
                "important" => format!("importance {:.2}, for {}", clip.importance, clip.category),
                _ => "kept because it could not be scored".into(),
            };
            println!("  {} - {}  {why}", clock(clip.time.start), clock(clip.time.end));
        }
        println!(
            "{TIME_LAPSE}: {}, {SPEED} times as fast, slower where importance is high",
            clock(length(TIME_LAPSE)?)
        );
        println!("{CURVE}: importance over time, the skim's clips shaded");
        Ok(())
    }
}
