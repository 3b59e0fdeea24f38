//! What the tests of `desumnet` share: the element with its pads in hand, pictures to push, and what each must come out with.

use std::{
    path::{Path, PathBuf},
    sync::{LazyLock, mpsc},
    time::Duration,
};

use desumnet_decide::quantile::RunningQuantile;
use desumnet_engine::{
    Batching, Category, Engine, Request, Stream,
    network::{CLIP_BYTES, Device, Precision},
};
use desumnet_frames::{
    segmenter::{Input, Segmenter, Stride},
    shots::{Detector, Limits},
};
use desumnet_media::scaler::{Scaler, nominal_spacing};
use gst::prelude::*;
use gst_check::Harness;
use gstdesumnet::meta::{Flags, ImportanceMeta};

use super::{CATEGORIES, init, tiny_model};

/// Longest wait for what must come: only a test that fails waits as long.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub fn patience() -> gst::ClockTime {
    gst::ClockTime::try_from(PATIENCE).unwrap()
}

/// Time between pictures unless a test says otherwise: 25 a second.
pub const SPACING: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// The tiny model's file, written once a process.
pub fn model() -> &'static Path {
    static MODEL: LazyLock<PathBuf> = LazyLock::new(|| {
        // Beside the test program, which has a name of its own.
        let folder = std::env::current_exe().unwrap().with_extension("files");
        std::fs::create_dir_all(&folder).unwrap();
        tiny_model(&folder)
    });
    &MODEL
}

/// A stream of the engine that the elements of this process share.
pub fn stream() -> Stream {
    Engine::shared(model(), Device::Cpu, Precision::F32).unwrap().stream(Batching::default())
}

/// A model of its own whose engine takes clips but answers for none until it is released.
pub struct BusyEngine {
    /// First, because the engine does not end before it has answered.
    release: Option<mpsc::Sender<()>>,
    stream: Stream,
    model: PathBuf,
    _folder: tempfile::TempDir,
}

impl Default for BusyEngine {
    fn default() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("busy.safetensors");
        std::fs::copy(model(), &copy).unwrap();
        let stream = Engine::shared(&copy, Device::Cpu, Precision::F32).unwrap().stream(Batching::default());
        let mut busy = Self { release: None, stream, model: copy, _folder: folder };
        busy.occupy();
        busy
    }
}

impl BusyEngine {
    /// The `model` property of elements that shall share the engine.
    pub fn model(&self) -> &str {
        self.model.to_str().unwrap()
    }

    pub fn occupy(&mut self) {
        let (release, released) = mpsc::channel();
        // Ends with an error once the sender is dropped.
        let reply = Box::new(move |_| {
            let _ = released.recv();
        });
        self.stream.submit(vec![0; CLIP_BYTES], request(), None, reply);
        self.release = Some(release);
    }

    /// Lets it answer; returns when it has answered for everything handed in so far.
    pub fn release(&mut self) {
        self.release = None;
        // Streams take turns, and eight segments of one may wait.
        for _ in 0..=8 {
            self.stream.score(vec![0; CLIP_BYTES], request()).unwrap();
        }
    }
}

/// `desumnet` with the tiny model and these properties.
pub fn desumnet(properties: &[(&str, &str)]) -> gst::Element {
    init();
    let mut builder = gst::ElementFactory::make("desumnet")
        .property("model", model().to_str().unwrap())
        .property("device", "cpu")
        .property_from_str("precision", "f32");
    for (name, value) in properties {
        builder = builder.property_from_str(name, value);
    }
    builder.build().unwrap()
}

/// A pipeline of this description; `desumnet` in it has the tiny model.
pub fn pipeline(description: &str) -> gst::Pipeline {
    init();
    let model = model().display();
    let description =
        description.replace("desumnet", &format!("desumnet model={model} device=cpu precision=f32 name=desumnet"));
    gst::parse::launch(&description).unwrap().downcast().unwrap()
}

/// Waits for the end of the stream.
///
/// # Panics
/// On an error message.
pub fn wait_for_eos(pipeline: &gst::Pipeline) {
    let types = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline.bus().unwrap().timed_pop_filtered(patience(), &types).expect("EOS in time");
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
}

/// The default request: the running category, weighted, mean.
pub fn request() -> Request {
    Request::default()
}

/// [`request`] for one of [`CATEGORIES`].
pub fn request_for(category: &str) -> Request {
    Request { category: Category::named(category, &CATEGORIES.map(String::from)).unwrap(), ..request() }
}

pub fn info(format: gst_video::VideoFormat, width: u32, height: u32, rate: (i32, i32)) -> gst_video::VideoInfo {
    init();
    gst_video::VideoInfo::builder(format, width, height).fps(gst::Fraction::new(rate.0, rate.1)).build().unwrap()
}

/// 64 x 48 RGB, 25 a second.
pub fn usual_info() -> gst_video::VideoInfo {
    info(gst_video::VideoFormat::Rgb, 64, 48, (25, 1))
}

/// A picture unlike those of other numbers.
pub fn picture(info: &gst_video::VideoInfo, number: usize, pts: Option<gst::ClockTime>) -> gst::Buffer {
    let pixels: Vec<u8> = (0..info.size()).map(|i| (i * (number * number + 1) / 7 + number * 13) as u8).collect();
    let mut buffer = gst::Buffer::from_mut_slice(pixels);
    let fields = buffer.get_mut().unwrap();
    fields.set_pts(pts);
    fields.set_duration(pts.map(|_| SPACING));
    fields.set_offset(number as u64);
    buffer
}

/// Pictures of these numbers, each [`SPACING`] after the one before and timed by its number.
pub fn pictures(info: &gst_video::VideoInfo, numbers: std::ops::Range<usize>) -> Vec<gst::Buffer> {
    numbers.map(|number| picture(info, number, Some(SPACING * number as u64))).collect()
}

/// What comes out of the source pad.
#[derive(Clone, Debug)]
pub enum Out {
    Buffer(gst::Buffer),
    Event(gst::Event),
}

/// The element between two pads of the test's, playing.
pub struct Rig {
    pub element: gst::Element,
    pub harness: Harness,
    pub bus: gst::Bus,
    out: mpsc::Receiver<Out>,
}

impl Rig {
    /// In a pipeline that is not live.
    pub fn new(info: &gst_video::VideoInfo, properties: &[(&str, &str)]) -> Self {
        Self::around(desumnet(properties), info, false)
    }

    pub fn live(info: &gst_video::VideoInfo, properties: &[(&str, &str)]) -> Self {
        Self::around(desumnet(properties), info, true)
    }

    /// Around an element that may have been used before.
    pub fn around(element: gst::Element, info: &gst_video::VideoInfo, live: bool) -> Self {
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let (sender, out) = mpsc::channel();
        let types = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        element.static_pad("src").unwrap().add_probe(types, move |_, probe| {
            let item = match &probe.data {
                Some(gst::PadProbeData::Buffer(buffer)) => Out::Buffer(buffer.clone()),
                Some(gst::PadProbeData::Event(event)) => Out::Event(event.clone()),
                _ => return gst::PadProbeReturn::Ok,
            };
            // An element used again still has the probes of its earlier rigs.
            let _ = sender.send(item);
            gst::PadProbeReturn::Ok
        });
        let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
        harness.set_live(live);
        harness.set_src_caps(info.to_caps().unwrap());
        Self { element, harness, bus, out }
    }

    pub fn push(&mut self, buffers: &[gst::Buffer]) {
        for buffer in buffers {
            assert_eq!(self.harness.push(buffer.clone()), Ok(gst::FlowSuccess::Ok));
        }
    }

    pub fn push_event(&mut self, event: gst::Event) {
        assert!(self.harness.push_event(event));
    }

    /// The next thing that comes out; waits for it.
    pub fn next(&self) -> Out {
        self.out.recv_timeout(PATIENCE).expect("something comes out")
    }

    /// The next buffers that come out; waits for them, and passes over events.
    pub fn buffers(&self, count: usize) -> Vec<gst::Buffer> {
        let mut buffers = Vec::new();
        while buffers.len() < count {
            if let Out::Buffer(buffer) = self.next() {
                buffers.push(buffer);
            }
        }
        buffers
    }

    /// Ends the stream; all that comes out up to EOS.
    pub fn finish(&mut self) -> Vec<Out> {
        self.push_event(gst::event::Eos::new());
        let mut all = Vec::new();
        loop {
            match self.next() {
                Out::Event(event) if event.type_() == gst::EventType::Eos => return all,
                item => all.push(item),
            }
        }
    }

    /// Ends the stream; the buffers that come out.
    pub fn finish_buffers(&mut self) -> Vec<gst::Buffer> {
        buffers_of(&self.finish())
    }

    /// What has come out and was not asked for yet.
    pub fn so_far(&self) -> Vec<Out> {
        self.out.try_iter().collect()
    }

    /// The segment messages posted so far.
    pub fn segment_messages(&self) -> Vec<gst::Structure> {
        let messages = self.element_messages();
        messages.into_iter().filter(|structure| structure.name() == "desumnet-segment").collect()
    }

    /// All element messages posted so far.
    pub fn element_messages(&self) -> Vec<gst::Structure> {
        let messages = std::iter::from_fn(|| self.bus.pop_filtered(&[gst::MessageType::Element]));
        messages.map(|message| message.structure().unwrap().to_owned()).collect()
    }

    pub fn stat(&self, field: &str) -> u64 {
        self.element.property::<gst::Structure>("stats").get(field).unwrap()
    }
}

pub fn buffers_of(out: &[Out]) -> Vec<gst::Buffer> {
    out.iter().filter_map(|item| if let Out::Buffer(buffer) = item { Some(buffer.clone()) } else { None }).collect()
}

/// The metas of buffers, all of which must have one.
pub fn metas(buffers: &[gst::Buffer]) -> Vec<ImportanceMeta> {
    buffers.iter().map(|buffer| ImportanceMeta::of(buffer).expect("every frame has a meta")).collect()
}

/// Asserts that these frames came out, with these metas, and neither more nor fewer.
pub fn assert_marked(out: &[gst::Buffer], pushed: &[gst::Buffer], expected: &[ImportanceMeta]) {
    let fields = |buffers: &[gst::Buffer]| -> Vec<_> {
        buffers.iter().map(|b| (b.pts(), b.duration(), b.offset(), b.flags())).collect()
    };
    assert_eq!(fields(out), fields(pushed));
    assert_eq!(metas(out), expected);
}

/// Cuts and scores pictures as the element has to, with no element.
pub struct Reference {
    stream: Stream,
    segmenter: Segmenter,
    shots: Detector,
    next_shot: u64,
    request: Request,
    quantile: RunningQuantile,
}

impl Reference {
    /// With the tiny model.
    pub fn new(request: Request, stride: Stride) -> Self {
        Self::with(stream(), request, stride)
    }

    /// With a model that has [`CATEGORIES`].
    pub fn with(stream: Stream, request: Request, stride: Stride) -> Self {
        let segmenter = Segmenter::new(stride, stream.engine.clip);
        let shots = Detector::new(stream.engine.clip, Limits::default(), 0);
        Self { stream, segmenter, shots, next_shot: 0, request, quantile: RunningQuantile::default() }
    }

    /// The metas of these pictures, the last segment ended after them.
    pub fn metas(&mut self, info: &gst_video::VideoInfo, pictures: &[gst::Buffer]) -> Vec<ImportanceMeta> {
        let mut scaler = Scaler::to(self.stream.engine.clip, info).unwrap();
        self.segmenter.set_nominal_spacing(nominal_spacing(info));
        self.shots.set_spacing(nominal_spacing(info));
        let (mut segments, mut starts, mut samples) = (Vec::new(), Vec::new(), Vec::new());
        for buffer in pictures {
            let frame = self.segmenter.samples_next().then(|| scaler.scale(buffer).unwrap());
            let [pts, duration] = [buffer.pts(), buffer.duration()].map(|t| t.map(gst::ClockTime::nseconds));
            samples.push(frame.as_ref().map(|_| self.shots.frames()));
            starts.extend(frame.as_ref().and_then(|frame| self.shots.push(frame, pts)));
            segments.extend(self.segmenter.push(Input { pts, duration, frame }).1);
        }
        segments.extend(self.segmenter.finish());
        starts.extend(self.shots.finish());
        let mut shots = samples.into_iter().map(|sample| {
            let starts = starts.iter().any(|start| Some(start.frame) == sample);
            self.next_shot += u64::from(starts);
            (self.next_shot - 1, starts)
        });
        let mut metas = Vec::new();
        for segment in segments {
            let score = self.stream.score(segment.clip.centre_crop(), self.request.clone()).unwrap();
            let importance = self.quantile.add(score.score);
            metas.extend((0..segment.frames).zip(shots.by_ref()).map(|(frame, (shot, shot_start))| ImportanceMeta {
                segment: segment.index,
                segment_start: segment.start.map(gst::ClockTime::from_nseconds),
                segment_duration: gst::ClockTime::from_nseconds(segment.duration),
                segment_frames: segment.frames,
                frame,
                frame_score: score.frame_scores[segment.sample_of(frame)].into(),
                segment_score: score.score.into(),
                importance: importance.into(),
                category: score.category.map_or("", |c| CATEGORIES[c]).into(),
                confidence: score.confidence.into(),
                shot,
                shot_start,
                flags: if segment.padded { Flags::PADDED } else { Flags::empty() },
            }));
        }
        metas
    }
}

/// [`Reference::metas`] with the default settings.
pub fn expected(info: &gst_video::VideoInfo, pictures: &[gst::Buffer]) -> Vec<ImportanceMeta> {
    Reference::new(request(), Stride::Auto).metas(info, pictures)
}
