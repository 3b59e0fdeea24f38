//! A picture of a clip: one of its key frames as JPEG.

use gst::prelude::*;
use thiserror::Error;

/// How long a picture may take.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// Why a clip has no picture. The clip itself is not affected.
#[derive(Debug, Error)]
#[error("no picture could be made of it: {0}; the clip is complete")]
pub struct ThumbnailError(String);

/// Decodes a key frame, given with its caps, and encodes it as JPEG.
///
/// # Errors
/// [`ThumbnailError`]
pub fn jpeg(key: &gst::Sample) -> Result<Vec<u8>, ThumbnailError> {
    let told = |e: glib::Error| ThumbnailError(e.to_string());
    let missing = || ThumbnailError("GStreamer lacks a decoder or jpegenc: run `make setup`".into());
    let line = "appsrc name=in format=time ! decodebin ! videoconvert ! jpegenc ! appsink name=out sync=false";
    let pipeline = gst::parse::launch(line).map_err(told)?.downcast::<gst::Pipeline>().map_err(|_| missing())?;
    let part = |name| pipeline.by_name(name).ok_or_else(missing);
    let source = part("in")?.downcast::<gst_app::AppSrc>().map_err(|_| missing())?;
    let sink = part("out")?.downcast::<gst_app::AppSink>().map_err(|_| missing())?;
    source.set_caps(key.caps_owned().as_ref());
    let playing = pipeline.set_state(gst::State::Playing).is_ok();
    let fed = key.buffer_owned().is_some_and(|buffer| source.push_buffer(buffer).is_ok());
    let _ = source.end_of_stream();
    let picture = if playing && fed { sink.try_pull_sample(PATIENCE) } else { None };
    let error = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
    let _ = pipeline.set_state(gst::State::Null);
    let bytes = picture.as_ref().and_then(|sample| sample.buffer()?.map_readable().ok());
    bytes.map(|bytes| bytes.to_vec()).ok_or_else(|| {
        ThumbnailError(match error.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => error.error().to_string(),
            _ => "the key frame could not be decoded".into(),
        })
    })
}
