//! Decodes a file, lets `desumskim` follow the plan, and encodes what is left.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use gst::prelude::*;

use super::{
    Container, CutError, Making, Unlinked, caps_of, container,
    delay::make_up,
    link_pads, make, orientation, pad_of, request, told,
    tone::{Hdr, to_sdr},
};

/// What `desumskim` can cut to the sample.
const SOUND: &str = "audio/x-raw,layout=interleaved,format={S16LE,S32LE,F32LE,F64LE}";

/// Puts decoder and skimmer before the encoder. The file of the plan must stay until the pipeline has started. Pictures that are `hdr`
/// become SDR.
pub(super) fn build(making: Making, uri: &str, plan: &Path, hdr: Option<Hdr>) -> Result<(), CutError> {
    let (source, skim) = (make("uridecodebin")?, make("desumskim")?);
    source.set_property("uri", uri);
    skim.set_property("plan", plan.to_string_lossy().as_ref());
    skim.set_property_from_str("audio", "scale");
    let pipeline = making.pipeline.upgrade().ok_or_else(|| CutError::Element("pipeline".into()))?;
    pipeline.add_many([&source, &skim]).map_err(|e| CutError::Element(e.to_string()))?;
    making.encoder.set_property("profile", making.container.profile());
    making.begin(&source, move |making, pipeline, video, sounds| link(making, &skim, pipeline, video, sounds, hdr));
    Ok(())
}

fn link(
    making: &Making,
    skim: &gst::Element,
    pipeline: &gst::Pipeline,
    video: &gst::Pad,
    sounds: &[gst::Pad],
    hdr: Option<Hdr>,
) -> Result<(), Unlinked> {
    let pictures = pad_of(skim, "src")?;
    making.shown.follow(&pictures, gst::ClockTime::ZERO);
    link_pads(&pictures, &request(&making.encoder, "video_%u")?)?;
    let mut streams = vec![(video, filter(video, &making.container, hdr), pad_of(skim, "sink")?)];
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
        hold_first(&filter);
        if let Some((hdr, from)) = hdr.zip(filter.by_name("hdr")) {
            to_sdr(&pad_of(&from, "src")?, hdr)?;
        }
        pipeline.add(&filter).map_err(told)?;
        link_pads(&pad_of(filter.upcast_ref(), "src")?, &input)?;
        filter.sync_state_with_parent().map_err(told)?;
        // Last: a stream's events pass before its first buffer waits for this to end. A pad that is not active yet would refuse
        // them, and the stream would stop without a word.
        link_pads(stream, &pad_of(filter.upcast_ref(), "sink")?)?;
    }
    Ok(())
}

/// What the decoded pictures pass: they become upright, progressive, of one size and of a format that the container's players know.
fn filter(video: &gst::Pad, container: &Container, hdr: Option<Hdr>) -> String {
    let orientation = orientation(video);
    let info = gst_video::VideoInfo::from_caps(&caps_of(video)).ok();
    let interlaced = info.as_ref().is_some_and(gst_video::VideoInfo::is_interlaced);
    let grey = info.as_ref().is_some_and(|info| info.format_info().is_gray());
    let fits = |format: &&&str| match **format {
        format if grey => format == "I420",
        // There is no deinterlacer for more than 8 bits, and nothing that turns 4:2:2 of 8 bits.
        format if interlaced => !format.ends_with("LE") && format != "Y42B",
        format => orientation.is_none() || format != "Y42B",
    };
    let formats: Vec<&str> = container.pictures().iter().filter(fits).copied().collect();
    let mut filter = hdr.map_or(String::new(), |hdr| {
        format!("videoconvert n-threads=0 ! capsfilter name=hdr caps=\"{}\" ! ", hdr.caps())
    });
    filter += &format!("videoconvert n-threads=0 ! capsfilter caps=\"video/x-raw,format={{{}}}\"", formats.join(","));
    // One frame of two fields, at its own time.
    filter += " ! deinterlace fields=top";
    let (width, height) = info.map_or((0, 0), |info| (info.width(), info.height()));
    let odd = |side: u32| if container.wants_even_sizes() && side > 1 { side % 2 } else { 0 };
    if (odd(width), odd(height)) != (0, 0) {
        filter += &format!(" ! videocrop right={} bottom={}", odd(width), odd(height));
    }
    if orientation.is_some() {
        filter += " ! videoflip video-direction=auto";
    }
    filter += " ! videoconvertscale add-borders=true n-threads=0 ! capsfilter name=first";
    let too_small = |side: u32| side == 1 && container.wants_even_sizes();
    if too_small(width) || too_small(height) {
        let even = |side: u32| (side - odd(side)).max(2);
        filter += &format!(" caps=video/x-raw,width={},height={}", even(width), even(height));
    }
    filter
}

/// Has all that passes the filter's end be as the first picture: an encoder that gets another size in mid-stream begins another
/// stream, which containers have no room for.
fn hold_first(filter: &gst::Bin) {
    let Some(first) = filter.by_name("first") else { return };
    let Some(output) = first.static_pad("src") else { return };
    let (held, weak) = (Mutex::new(None::<gst::Caps>), first.downgrade());
    output.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = &*held {
            if let Some(event) = info.event_mut().filter(|event| event.type_() == gst::EventType::Caps) {
                *event = gst::event::Caps::new(held);
            }
        } else if info.buffer().is_some() {
            // Not by the first caps: a picture may be turned after them.
            *held = pad.current_caps();
            if let Some((first, mut lock)) = weak.upgrade().zip(held.clone()) {
                // What is played at another rate keeps its times.
                lock.make_mut().iter_mut().for_each(|caps| caps.remove_field("framerate"));
                first.set_property("caps", lock);
            }
        }
        gst::PadProbeReturn::Ok
    });
}
