//! `desumskim`: skims and time-lapses of video, with the sound that goes with it.
//!
//! By what `desumnet` has scored, live: `mode=skim` keeps the moments that matter most, at normal speed; `mode=timelapse` keeps
//! some frames of every segment, the more the more it matters. Or by a plan that was made before: `plan=FILE`.
//!
//! In `mode=skim`, frames wait for what comes after them, `look-ahead` and a segment long. Raw frames wait in memory: 5 seconds of
//! 1920x1080 I420 at 30 a second are 470 MB, of 640x360 52 MB. In a live pipeline this is the latency.
//!
//! Other streams take request pads `sink_%u`; `src_%u` of the same number appears with each. Raw sound is cut to the
//! sample where the video is, with fades of 5 ms; where the video plays faster it is silent, or with `audio=scale`, up to twice as
//! fast, sped up with its pitch kept. Encoded video is cut at key frames: all of a group of pictures that is decoded up to the last one
//! wanted is kept, and all other streams are cut where it is; what comes after the last one wanted waits until the group is over. Of other
//! streams, buffers are kept or dropped whole by where they start. What is ahead of the video waits in the element.
//!
//! ```text
//! gst-launch-1.0 filesrc location=in.mp4 ! decodebin name=d  d. ! videoconvert ! desumnet ! desumskim name=s ratio=0.2 ! \
//!     videoconvert ! x264enc ! queue ! mp4mux name=m ! filesink location=skim.mp4 \
//!     d. ! queue ! audioconvert ! s.sink_0  s.src_0 ! audioconvert ! avenc_aac ! queue ! m.
//! ```

mod broken_link;
mod clip;
mod closing;
mod imp;
mod lane;
mod room;
mod run;
mod settings;
mod sound;
mod streams;
mod video;

use gst::prelude::*;

glib::wrapper! {
    pub struct Skim(ObjectSubclass<imp::Skim>) @extends gst::Element, gst::Object;
}

/// # Errors
/// If the name is taken.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "desumskim", gst::Rank::NONE, Skim::static_type())
}

/// The segment event of the output, in place of one of the input: timestamps there are running times from `origin` on.
fn retimed(event: &gst::Event, origin: gst::ClockTime) -> gst::Event {
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(origin);
    segment.set_position(origin);
    gst::event::Segment::builder(&segment).seqnum(event.seqnum()).build()
}
