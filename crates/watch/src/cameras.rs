//! Several cameras in one process, none of which is harmed by what happens to another.

use std::{collections::BTreeSet, thread::JoinHandle};

use super::{camera::Camera, complaints::Say, source::Stop};
use desumnet_media::secrets::Secrets;

/// Cameras that are being watched, each by threads of its own.
#[derive(Default)]
pub struct Cameras(Vec<(Stop, JoinHandle<bool>)>);

impl Cameras {
    /// Watches another one. `say` gets why it can't be watched.
    pub fn watch(&mut self, camera: Camera, say: Say) {
        let stop = camera.stop_handle();
        let watching = std::thread::spawn(move || match camera.run() {
            Ok(()) => true,
            Err(error) => {
                say(error.to_string());
                false
            }
        });
        self.0.push((stop, watching));
    }

    /// What ends each.
    pub fn stop_handles(&self) -> Vec<Stop> {
        self.0.iter().map(|(stop, _)| stop.clone()).collect()
    }

    /// Waits until all have ended and their clips are finished; how many could not be watched.
    pub fn wait(self) -> usize {
        // A panic was told where it happened.
        self.0.into_iter().map(|(_, watching)| watching.join().unwrap_or(false)).filter(|watched| !watched).count()
    }
}

/// A camera's name and URI, of `URI` or `NAME=URI`. Without a name it is the host's, the device's or the file's; one that is among
/// `taken` gets a number.
pub fn named(camera: &str, taken: &mut BTreeSet<String>) -> (String, String) {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_. ".contains(c));
    let (name, uri) = match camera.split_once('=').filter(|(name, _)| is_name(name)) {
        Some((name, uri)) => (name.to_owned(), uri),
        None => (own_name(camera), camera),
    };
    let numbered = std::iter::once(name.clone()).chain((2u64..).map(|n| format!("{name}-{n}")));
    let name = numbered.into_iter().find(|name| taken.insert(name.clone())).unwrap_or(name);
    (name, uri.into())
}

fn own_name(uri: &str) -> String {
    let hidden = Secrets::of(uri).hide(uri);
    let (scheme, rest) = hidden.split_once(':').unwrap_or(("", &hidden));
    let rest = rest.trim_start_matches('/');
    let place = rest.split(['?', '#']).next().unwrap_or_default();
    let name = match scheme {
        "file" | "v4l2" => place.rsplit('/').next().and_then(|file| file.split('.').next()),
        _ => place.split('/').next().and_then(|host| host.rsplit('@').next()),
    };
    name.filter(|name| !name.is_empty()).unwrap_or(scheme).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_are_named_by_the_user_or_by_where_they_are_and_each_differently() {
        let mut taken = BTreeSet::new();
        let mut name = |camera| named(camera, &mut taken);
        let pair = |name: &str, uri: &str| (name.to_owned(), uri.to_owned());
        assert_eq!(name("yard=rtsp://u:p@cam/live?a=b"), pair("yard", "rtsp://u:p@cam/live?a=b"));
        assert_eq!(name("rtsp://u:p@ss@cam.lan:554/live?a=b").0, "cam.lan:554");
        assert_eq!(name("rtsp://cam.lan:554/other").0, "cam.lan:554-2");
        assert_eq!(name("v4l2:///dev/video0").0, "video0");
        assert_eq!(name("file:///a/b.c.mp4").0, "b");
        assert_eq!(name("test:"), pair("test", "test:"));
        assert_eq!(name("yard=test:").0, "yard-2");
        assert_eq!(name("srt://:9000?mode=listener&passphrase=s3cretword").0, ":9000");
    }
}
