//! Decodes a file, lets [`crate::elements::skim`] follow the plan, and encodes what is left.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use gst::prelude::*;

use super::{CutError, Making, Unlinked, caps_of, container, delay::make_up, link_pads, make, pad_of, request, told};

/// What [`crate::elements::skim`] can cut to the sample.
const SOUND: &str = "audio/x-raw,layout=interleaved,format={S16LE,S32LE,F32LE,F64LE}";

/// Puts decoder and skimmer before the encoder. The file of the plan must stay until the pipeline has started.
pub(super) fn build(making: Making, uri: &str, plan: &Path) -> Result<(), CutError> {
    let (source, skim) = (make("uridecodebin")?, make("desumskim")?);
    source.set_property("uri", uri);
    skim.set_property("plan", plan.to_string_lossy().as_ref());
    skim.set_property_from_str("audio", "scale");
    let pipeline = making.pipeline.upgrade().ok_or_else(|| CutError::Element("pipeline".into()))?;
    pipeline.add_many([&source, &skim]).map_err(|e| CutError::Element(e.to_string()))?;
    making.encoder.set_property("profile", making.container.profile());
    making.begin(&source, move |making, pipeline, video, sounds| link(making, &skim, pipeline, video, sounds));
    Ok(())
}

fn link(
    making: &Making,
    skim: &gst::Element,
    pipeline: &gst::Pipeline,
    video: &gst::Pad,
    sounds: &[gst::Pad],
) -> Result<(), Unlinked> {
    link_pads(&pad_of(skim, "src")?, &request(&making.encoder, "video_%u")?)?;
    let mut streams = vec![(video, upright(video, making.container.wants_even_sizes()), pad_of(skim, "sink")?)];
    // Each request makes the encoder that it needs.
    let newest = Arc::new(Mutex::new(None));
    let made = newest.clone();
    if let Some(bin) = making.encoder.downcast_ref::<gst::Bin>() {
        bin.connect_deep_element_added(move |_, _, element| {
            if container::delay(element).is_some() {
                *made.lock().unwrap_or_else(PoisonError::into_inner) = Some(element.clone());
            }
        });
    }
    for sound in sounds {
        let input = request(skim, "sink_%u")?;
        let output = pad_of(skim, &input.name().replace("sink", "src"))?;
        let target = request(&making.encoder, "audio_%u")?;
        link_pads(&output, &target)?;
        let encoder = newest.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((encoder, frame)) = encoder.and_then(|e| Some((e.static_pad("src")?, container::delay(&e)?))) {
            make_up(&output, &target, &encoder, frame);
        }
        streams.push((sound, format!("audioconvert ! capsfilter caps=\"{SOUND}\""), input));
    }
    for (stream, filter, input) in streams {
        let filter = gst::parse::bin_from_description(&filter, true).map_err(|e| Some(e.to_string()))?;
        pipeline.add(&filter).map_err(told)?;
        link_pads(&pad_of(filter.upcast_ref(), "src")?, &input)?;
        filter.sync_state_with_parent().map_err(told)?;
        // Last: a stream's events pass before its first buffer waits for this to end. A pad that is not active yet would refuse
        // them, and the stream would stop without a word.
        link_pads(stream, &pad_of(filter.upcast_ref(), "sink")?)?;
    }
    Ok(())
}

/// Turns pictures upright, as players would. `even`: leaves out an odd last column and row, which the codec has no room for.
fn upright(video: &gst::Pad, even: bool) -> String {
    let info = gst_video::VideoInfo::from_caps(&caps_of(video)).ok();
    let odd = |side: u32| if even { side % 2 } else { 0 };
    match info.map_or((0, 0), |info| (odd(info.width()), odd(info.height()))) {
        (0, 0) => "videoflip video-direction=auto".into(),
        (right, bottom) => format!("videocrop right={right} bottom={bottom} ! videoflip video-direction=auto"),
    }
}
