//! Says what goes wrong once, and not again until it works.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What says something to the user.
pub type Say = Arc<dyn Fn(String) + Send + Sync>;

/// What went wrong at a camera, and was said. Shared by all who work on it.
pub struct Complaints {
    camera: String,
    say: Say,
    said: Mutex<BTreeSet<&'static str>>,
}

impl Complaints {
    /// Nothing was said yet.
    pub fn new(camera: &str, say: Say) -> Self {
        Self { camera: camera.into(), say, said: Mutex::default() }
    }

    fn said(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is wrong about something, unless it was said already.
    pub fn say(&self, about: &'static str, text: impl ToString) {
        if self.said().insert(about) {
            (self.say)(format!("{}: {}", self.camera, text.to_string()));
        }
    }

    /// It works.
    pub fn over(&self, about: &'static str) {
        self.said().remove(about);
    }

    /// Says it unless it works.
    pub fn check<E: ToString>(&self, about: &'static str, done: Result<(), E>) {
        match done {
            Ok(()) => self.over(about),
            Err(error) => self.say(about, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_said_once_until_it_works() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let saying = said.clone();
        let complaints = Complaints::new("yard", Arc::new(move |text| saying.lock().unwrap().push(text)));
        for done in [Err("full"), Err("full"), Ok(()), Err("gone")] {
            complaints.check("disk", done);
        }
        complaints.say("sound", "silent");
        assert_eq!(*said.lock().unwrap(), ["yard: full", "yard: gone", "yard: silent"]);
    }
}
