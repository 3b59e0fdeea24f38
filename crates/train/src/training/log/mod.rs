//! What a run leaves to look at: `metrics.csv` (a row an epoch), `curves.svg` (loss and accuracy over the epochs) and
//! TensorBoard event files (`tensorboard --logdir FOLDER`).
//!
//! A run that is killed and resumed leaves one record of each epoch. The two small files are replaced whole, never appended to,
//! so they are never torn; rows of epochs that the run will do again are left out on opening. Event files can only grow: a
//! resumed run begins another, whose first event tells TensorBoard to forget the steps that are done again.

mod curves;
mod events;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use desumnet_files::whole_file;
use events::EventFile;

/// Name of the table in the run's folder.
const TABLE: &str = "metrics.csv";
/// Name of the picture in the run's folder.
const CURVES: &str = "curves.svg";

/// Why something of a run could not be recorded.
#[derive(Debug, Error)]
pub enum LogError {
    #[error("{path} can't be written: {reason}; check the folder and the free disk space")]
    Unwritable { path: PathBuf, reason: String },
    #[error("{path} can't be read: {reason}; mend or remove it, and resume again")]
    Unreadable { path: PathBuf, reason: String },
}

/// What validation found: shares of videos and of segments named right, and the loss.
#[derive(Clone, Copy, Debug)]
pub struct Validation {
    pub video: f64,
    pub clip: f64,
    pub loss: f64,
}

/// What an epoch came to.
#[derive(Clone, Copy, Debug)]
pub struct EpochMetrics {
    /// Number of this epoch, from 1.
    pub epoch: usize,
    /// Optimizer steps of the run so far.
    pub step: u64,
    /// At the epoch's end.
    pub learning_rate: f64,
    /// Mean over the epoch's training clips.
    pub loss: f64,
    /// Share of the epoch's training clips that were named right.
    pub accuracy: f64,
    /// Where it was measured.
    pub validation: Option<Validation>,
    /// Training clips a second.
    pub clips_per_second: f64,
    /// Time that the epoch took, without validation.
    pub seconds: f64,
}

/// A row of the table. The order of the fields is that of the columns.
#[derive(Serialize, Deserialize)]
struct Row {
    epoch: usize,
    step: u64,
    learning_rate: f64,
    loss: f64,
    accuracy: f64,
    validation_video_accuracy: Option<f64>,
    validation_clip_accuracy: Option<f64>,
    validation_loss: Option<f64>,
    clips_per_second: f64,
    seconds: f64,
}

impl From<&EpochMetrics> for Row {
    fn from(metrics: &EpochMetrics) -> Self {
        Self {
            epoch: metrics.epoch,
            step: metrics.step,
            learning_rate: metrics.learning_rate,
            loss: metrics.loss,
            accuracy: metrics.accuracy,
            validation_video_accuracy: metrics.validation.map(|v| v.video),
            validation_clip_accuracy: metrics.validation.map(|v| v.clip),
            validation_loss: metrics.validation.map(|v| v.loss),
            clips_per_second: metrics.clips_per_second,
            seconds: metrics.seconds,
        }
    }
}

/// The record of a run, in the run's folder.
pub struct RunLog {
    folder: PathBuf,
    events: EventFile,
    rows: Vec<Row>,
}

impl RunLog {
    /// Opens the log of a run that has done this many `epochs` and optimizer `steps` (0 and 0: a new run). What an earlier
    /// attempt recorded past them is dropped.
    ///
    /// # Errors
    /// [`LogError`], by what is wrong with the folder or its table.
    pub fn open(folder: &Path, epochs: usize, steps: u64) -> Result<Self, LogError> {
        let rows = if epochs == 0 { Vec::new() } else { read(&folder.join(TABLE), epochs)? };
        let events = EventFile::create(folder, steps).map_err(unwritable(folder))?;
        let log = Self { folder: folder.into(), events, rows };
        log.write_table()?;
        log.write_curves()?;
        Ok(log)
    }

    /// Records an optimizer step, counted over the whole run from 1, for TensorBoard.
    ///
    /// # Errors
    /// [`LogError::Unwritable`]; this step is then missing, and later ones can be recorded all the same.
    pub fn step(&mut self, step: u64, loss: f64, learning_rate: f64) -> Result<(), LogError> {
        let scalars = [("loss/step", loss), ("learning_rate", learning_rate)];
        self.events.scalars(step, &scalars).map_err(unwritable(self.events.path()))
    }

    /// Records an epoch: in the table, in the picture and for TensorBoard.
    ///
    /// # Errors
    /// [`LogError::Unwritable`], after everything was tried. The table and the picture catch up with the next epoch that can
    /// be written.
    pub fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), LogError> {
        self.rows.push(metrics.into());
        let mut scalars = vec![
            ("loss/training", metrics.loss),
            ("accuracy/training", metrics.accuracy),
            ("clips_per_second", metrics.clips_per_second),
        ];
        if let Some(v) = metrics.validation {
            scalars.extend([
                ("loss/validation", v.loss),
                ("accuracy/validation_videos", v.video),
                ("accuracy/validation_clips", v.clip),
            ]);
        }
        let events = self.events.scalars(metrics.step, &scalars).map_err(unwritable(self.events.path()));
        [self.write_table(), self.write_curves(), events].into_iter().collect()
    }

    fn write_table(&self) -> Result<(), LogError> {
        let path = self.folder.join(TABLE);
        let mut writer = csv::Writer::from_writer(Vec::new());
        let rows = self.rows.iter().try_for_each(|row| writer.serialize(row)).map_err(io::Error::from);
        let table = rows.and_then(|()| writer.into_inner().map_err(csv::IntoInnerError::into_error));
        table.and_then(|table| whole_file::write(&path, &table)).map_err(unwritable(&path))
    }

    fn write_curves(&self) -> Result<(), LogError> {
        let path = self.folder.join(CURVES);
        let picture = curves::svg(&self.rows).map_err(|e| io::Error::other(e.to_string()));
        picture.and_then(|picture| whole_file::write(&path, picture.as_bytes())).map_err(unwritable(&path))
    }
}

/// The table's rows of the first `epochs` epochs. A last line without an end is what a full disk or a crash left: it is no row.
fn read(path: &Path, epochs: usize) -> Result<Vec<Row>, LogError> {
    let unreadable = |reason: String| LogError::Unreadable { path: path.into(), reason };
    let text = match fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(|e| unreadable(e.to_string()))?,
    };
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let rows = csv::Reader::from_reader(whole.as_bytes()).into_deserialize::<Row>().collect::<Result<Vec<_>, _>>();
    let mut rows = rows.map_err(|e| unreadable(e.to_string()))?;
    rows.retain(|row| row.epoch <= epochs);
    Ok(rows)
}

fn unwritable(path: &Path) -> impl Fn(io::Error) -> LogError {
    move |error| LogError::Unwritable { path: path.into(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "epoch,step,learning_rate,loss,accuracy,validation_video_accuracy,validation_clip_accuracy,validation_loss,clips_per_second,seconds";

    fn metrics(epoch: usize, loss: f64) -> EpochMetrics {
        let validation = (epoch > 1).then_some(Validation { video: 0.75, clip: 0.5, loss: 1.25 });
        EpochMetrics {
            epoch,
            step: epoch as u64 * 10,
            learning_rate: 0.003,
            loss,
            accuracy: 0.25,
            validation,
            clips_per_second: 12.5,
            seconds: 40.0,
        }
    }

    fn table(folder: &Path) -> Vec<String> {
        let text = fs::read_to_string(folder.join(TABLE)).unwrap();
        text.lines().map(String::from).collect()
    }

    fn event_files(folder: &Path) -> usize {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("events.out.tfevents.")).count()
    }

    #[test]
    fn an_epoch_is_a_row_and_what_was_not_measured_stays_empty() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RunLog::open(folder.path(), 0, 0).unwrap();
        log.epoch(&metrics(1, 2.5)).unwrap();
        log.epoch(&metrics(2, 1.5)).unwrap();
        let expected = [HEADER, "1,10,0.003,2.5,0.25,,,,12.5,40.0", "2,20,0.003,1.5,0.25,0.75,0.5,1.25,12.5,40.0"];
        assert_eq!(table(folder.path()), expected);
        // A new run in the same folder has nothing of the one before.
        RunLog::open(folder.path(), 0, 0).unwrap().epoch(&metrics(1, 3.5)).unwrap();
        assert_eq!(table(folder.path()), [HEADER, "1,10,0.003,3.5,0.25,,,,12.5,40.0"]);
    }

    #[test]
    fn a_resumed_run_has_each_epoch_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut killed = RunLog::open(folder.path(), 0, 0).unwrap();
        for epoch in 1..=4 {
            killed.epoch(&metrics(epoch, 9.0)).unwrap();
        }
        // Half a row, as an editor or a file system may leave it. Read as one, it would be of epoch 1.
        let mut torn = fs::read_to_string(folder.path().join(TABLE)).unwrap();
        torn.push_str("1,50,0.003,9.0,0.25,,,,12.5,4");
        fs::write(folder.path().join(TABLE), torn).unwrap();

        let mut resumed = RunLog::open(folder.path(), 2, 25).unwrap();
        let epochs = |folder: &Path| -> Vec<String> {
            let row = |line: &String| line.split(',').take(4).collect::<Vec<_>>().join(" ");
            table(folder).iter().skip(1).map(row).collect()
        };
        assert_eq!(epochs(folder.path()), ["1 10 0.003 9.0", "2 20 0.003 9.0"]);
        resumed.epoch(&metrics(3, 1.0)).unwrap();
        assert_eq!(epochs(folder.path()), ["1 10 0.003 9.0", "2 20 0.003 9.0", "3 30 0.003 1.0"]);
        assert_eq!(event_files(folder.path()), 2);
    }

    #[test]
    fn the_picture_has_a_dot_for_each_number_and_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RunLog::open(folder.path(), 0, 0).unwrap();
        log.epoch(&metrics(1, f64::NAN)).unwrap();
        for epoch in 2..=5 {
            log.epoch(&metrics(epoch, 1.0)).unwrap();
        }
        let picture = fs::read_to_string(folder.path().join(CURVES)).unwrap();
        // Training 5 times, less the loss that is no number; validation 4 times.
        assert_eq!(picture.matches("<circle").count(), (5 - 1) + 4 + 5 + 4 + 4);
        for name in ["loss", "accuracy", "training clips", "validation videos", "validation clips", "epoch"] {
            assert!(picture.contains(name), "{name}: {picture}");
        }
    }

    #[test]
    fn what_cannot_be_written_or_read_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RunLog::open(folder.path(), 0, 0).unwrap();
        let table = folder.path().join(TABLE);
        fs::remove_file(&table).unwrap();
        fs::create_dir(&table).unwrap();
        let error = log.epoch(&metrics(1, 1.0)).unwrap_err().to_string();
        assert!(error.starts_with(table.to_str().unwrap()) && error.contains("free disk space"), "{error}");
        // What can be written was.
        assert!(fs::read_to_string(folder.path().join(CURVES)).unwrap().contains("<circle"));
        // Once there is room again, nothing is missing.
        fs::remove_dir(&table).unwrap();
        log.epoch(&metrics(2, 1.0)).unwrap();
        assert_eq!(fs::read_to_string(&table).unwrap().lines().count(), 3);

        fs::write(&table, format!("{HEADER}\n1,x,0.003,9.0,0.25,,,,12.5,4\n")).unwrap();
        let error = RunLog::open(folder.path(), 1, 10).err().unwrap().to_string();
        assert!(error.contains("line: 2") && error.contains("mend or remove it"), "{error}");
        let error = RunLog::open(&folder.path().join("none"), 0, 0).err().unwrap().to_string();
        assert!(error.contains("none can't be written") && error.contains("check the folder"), "{error}");
    }
}
