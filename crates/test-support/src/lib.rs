//! What tests of several crates need: a small model, cameras, a browser, and the plugin registered.

pub mod browser;
pub mod camera;
pub mod scorer;
pub mod scoring;
pub mod watching;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use desumnet_engine::network::{CLIP_BYTES, CONVS, Header, Layer, Model, POOLED, Storage};
use desumnet_frames::clip::{CROP, FRAMES};
use tch::{Device, Kind, Tensor};

/// The tree.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Categories of [`tiny_model`].
pub const CATEGORIES: [&str; 3] = ["jumping", "cooking", "sailing"];

/// GStreamer, with the plugin's elements.
pub fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstdesumnet::plugin_register_static().unwrap();
        desumnet_torch::link();
    });
}

/// A network of the right shape with few, random weights: it scores a clip in a few milliseconds.
pub fn tiny_network(seed: i64) -> Model {
    network([4, 6, 8, 8, 8, 16, 16], seed)
}

/// Random weights of these widths, and [`CATEGORIES`].
pub fn network(widths: [i64; 7], seed: i64) -> Model {
    // libtorch has one source of random numbers a process.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    let widths = widths.into_iter().chain([CATEGORIES.len() as i64]);
    let (mut inputs, mut layers) = (3, Vec::new());
    for (i, out) in widths.enumerate() {
        if i == CONVS {
            inputs *= POOLED as i64;
        }
        let shape = if i < CONVS { vec![out, inputs, 3, 3, 3] } else { vec![out, inputs] };
        let fan_in: i64 = shape[1..].iter().product();
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let [weight, bias] = [random(&shape) * (2.0 / fan_in as f64).sqrt(), random(&[out]) * 0.1];
        let array = |tensor: &Tensor| desumnet_torch::array(tensor).unwrap();
        layers.push(Layer { weight: array(&weight), bias: array(&bias) });
        inputs = out;
    }
    let header = Header {
        categories: CATEGORIES.map(String::from).to_vec(),
        mean: [99.0, 91.5, 83.0],
        std: [74.0, 70.5, 69.0],
        provenance: serde_json::json!({ "made_by": "tests" }),
        calibration: None,
    };
    Model { header, layers, storage: Storage::F32 }
}

/// A clip with structure: two moving waves and some noise.
pub fn waves(seed: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 24) as f64
    };
    let mut bytes = Vec::with_capacity(CLIP_BYTES);
    for t in 0..FRAMES {
        for y in 0..CROP {
            for x in 0..CROP {
                for c in 0..3 {
                    let (t, y, x) = (t as f64, y as f64, x as f64);
                    let wave = (0.11 * x + 0.3 * t + c as f64).sin() + (0.07 * y - 0.2 * t + seed as f64).cos();
                    bytes.push((128.0 + 45.0 * wave + 30.0 * (noise() - 0.5)) as u8);
                }
            }
        }
    }
    bytes
}

/// [`tiny_network`] as a float32 file.
pub fn tiny_model(folder: &Path) -> PathBuf {
    let path = folder.join("tiny.safetensors");
    tiny_network(1).save(&path, Storage::F32).unwrap();
    path
}

/// Renders `frames` pictures of a videotestsrc pattern, 320x240 at 25 a second, into an MP4 file. On one thread: x264 on several
/// does not decide the same at every run.
pub fn render(path: &Path, pattern: &str, frames: u32) {
    launch(&format!(
        "videotestsrc pattern={pattern} num-buffers={frames} ! video/x-raw,width=320,height=240,framerate=25/1 \
         ! x264enc speed-preset=ultrafast threads=1 ! mp4mux ! filesink location={}",
        path.display()
    ));
}

/// Renders scenes one after the other, each a pattern and its frames, as [`render`] does.
pub fn scenes(path: &Path, scenes: &[(&str, u32)]) {
    let source = |(pattern, frames): &(&str, u32)| {
        format!(
            "videotestsrc pattern={pattern} num-buffers={frames} ! video/x-raw,width=320,height=240,framerate=25/1 ! c. "
        )
    };
    launch(&format!(
        "concat name=c ! x264enc speed-preset=ultrafast threads=1 ! mp4mux ! filesink location={} {}",
        path.display(),
        scenes.iter().map(source).collect::<String>()
    ));
}

/// Plays a pipeline to its end.
pub fn launch(description: &str) {
    use gst::prelude::*;
    init();
    let pipeline = gst::parse::launch(description).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let end = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::NONE, &end).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{description}: {message:?}");
    pipeline.set_state(gst::State::Null).unwrap();
}

/// What a program that failed as it should has said.
pub fn failure(output: &std::process::Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Serves a file, or the part of it that is asked for, whatever the request names. The address.
pub fn serve(path: &Path) -> String {
    let (server, bytes) = (tiny_http::Server::http("127.0.0.1:0").unwrap(), std::fs::read(path).unwrap());
    let address = server.server_addr().to_ip().unwrap();
    std::thread::spawn(move || {
        for request in server.incoming_requests() {
            let asked = request.headers().iter().find(|header| header.field.equiv("Range"));
            let asked =
                asked.and_then(|header| header.value.as_str().strip_prefix("bytes=")?.split('-').next()?.parse().ok());
            let from = asked.unwrap_or(0).min(bytes.len());
            let range = format!("Content-Range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            let answer = tiny_http::Response::from_data(&bytes[from..]).with_status_code(if asked.is_some() {
                206
            } else {
                200
            });
            let answer = answer.with_header(range.parse::<tiny_http::Header>().unwrap());
            let _ = request.respond(answer.with_header("Accept-Ranges: bytes".parse::<tiny_http::Header>().unwrap()));
        }
    });
    address.to_string()
}

/// A library of `data` that changes a program into which it is loaded by `LD_PRELOAD`.
pub fn preload(folder: &Path, name: &str) -> PathBuf {
    let library = folder.join(name).with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name).with_extension("c");
    let made = std::process::Command::new("cc").args(["-shared", "-fPIC"]).arg(source).arg("-o").arg(&library).status();
    assert!(made.unwrap().success());
    library
}
