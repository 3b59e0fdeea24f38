//! HDR pictures for screens that show 8 bits: PQ and HLG (ITU-R BT.2100) become BT.709.

mod cube;
mod curve;

use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use gst_video::{VideoFrameRef, VideoInfo, VideoTransferFunction};

use self::cube::Cube;
use super::Unlinked;

/// Format of the pictures that [`to_sdr`] takes.
const FORMAT: &str = "I420_10LE";
/// Light of the brightest pixel where the stream does not tell it, and of HLG, cd/m².
const USUAL_PEAK: f64 = 1_000.0;

/// How light is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transfer {
    Pq,
    Hlg,
}

/// The light of an HDR stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hdr {
    transfer: Transfer,
    /// Of the brightest pixel, cd/m².
    peak: f64,
}

impl Hdr {
    /// Of a decoded stream; `None`: it is none.
    pub fn of(caps: &gst::CapsRef) -> Option<Self> {
        let transfer = match VideoInfo::from_caps(caps).ok()?.colorimetry().transfer() {
            VideoTransferFunction::Smpte2084 => Transfer::Pq,
            VideoTransferFunction::AribStdB67 => return Some(Self { transfer: Transfer::Hlg, peak: USUAL_PEAK }),
            _ => return None,
        };
        let measured = gst_video::VideoContentLightLevel::from_caps(caps);
        let measured = measured.map_or(0.0, |light| f64::from(light.max_content_light_level()));
        let screen = gst_video::VideoMasteringDisplayInfo::from_caps(caps);
        let screen = screen.map_or(0.0, |screen| f64::from(screen.max_display_mastering_luminance()) / 10_000.0);
        let peak = [measured, screen].into_iter().find(|&peak| peak > 0.0).unwrap_or(USUAL_PEAK);
        Some(Self { transfer, peak })
    }

    /// The pictures that [`to_sdr`] takes, as caps.
    pub fn caps(self) -> String {
        let colours = if self.transfer == Transfer::Pq { "bt2100-pq" } else { "bt2100-hlg" };
        format!("video/x-raw,format={FORMAT},colorimetry={colours}")
    }
}

/// Has all that `pad` sends become SDR.
pub fn to_sdr(pad: &gst::Pad, hdr: Hdr) -> Result<(), Unlinked> {
    let cube = Cube::new(|code| curve::convert(hdr, code));
    // Of what comes in, and of what goes out.
    let infos = Arc::new(Mutex::new(None::<(VideoInfo, VideoInfo)>));
    let probe = pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let mut infos = infos.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = info.event_mut()
            && let gst::EventView::Caps(caps) = event.view()
        {
            let caps = caps.caps_owned();
            let new = sdr(&caps);
            *infos = VideoInfo::from_caps(&caps).ok().zip(VideoInfo::from_caps(&new).ok());
            *event = gst::event::Caps::new(&new);
        }
        if let (Some(buffer), Some((from, to))) = (info.buffer_mut(), &*infos)
            && let Some(shown) = map(&cube, buffer, from, to)
        {
            *buffer = shown;
        }
        gst::PadProbeReturn::Ok
    });
    probe.map(drop).ok_or_else(|| Some("its pictures can't be tone-mapped".into()))
}

/// The caps of what comes out, where these come in.
fn sdr(caps: &gst::Caps) -> gst::Caps {
    let mut caps = caps.clone();
    for structure in caps.make_mut().iter_mut() {
        structure.set("format", "I420");
        structure.set("colorimetry", "bt709");
        structure.remove_fields(["mastering-display-info", "content-light-level"]);
    }
    caps
}

fn map(cube: &Cube, buffer: &gst::BufferRef, from: &VideoInfo, to: &VideoInfo) -> Option<gst::Buffer> {
    let mut shown = gst::Buffer::with_size(to.size()).ok()?;
    let fields = shown.get_mut()?;
    buffer.copy_into(fields, gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS, ..).ok()?;
    let input = VideoFrameRef::from_buffer_ref_readable(buffer, from).ok()?;
    let mut output = VideoFrameRef::from_buffer_ref_writable(fields, to).ok()?;
    cube.apply(&input, &mut output);
    drop(output);
    Some(shown)
}
