//! Experiments' logs as files, one for each experiment, in AWS's record format.
//!
//! Written beside the state's lock and beside the async workers. A folder that cannot be written to is told once and
//! then left alone until it can; the experiments go on.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::notice::Notices;

/// The folder of the logs.
#[derive(Debug)]
pub(super) struct Logs {
    folder: PathBuf,
    told: bool,
}

impl Logs {
    /// Makes the folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder).map_err(|error| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("could not make the log folder {}: {error}", folder.display()),
            )
        })?;
        Ok(Self { folder, told: false })
    }

    /// Appends lines, each to the file of its experiment, in their order.
    pub(super) async fn append(&mut self, lines: Vec<(String, String)>, notices: &Notices) {
        if lines.is_empty() {
            return;
        }
        let folder = self.folder.clone();
        let written = tokio::task::spawn_blocking(move || write(&folder, lines)).await;
        let problem = match written {
            Ok(Ok(())) => return self.told = false,
            Ok(Err(problem)) => problem,
            Err(ended) => ended.to_string(),
        };
        if !std::mem::replace(&mut self.told, true) {
            notices.log_not_written(format!("experiments' logs are being lost: {problem}")).await;
        }
    }
}

fn write(folder: &Path, lines: Vec<(String, String)>) -> Result<(), String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for (experiment, line) in lines {
        let text = files.entry(experiment).or_default();
        text.push_str(&line);
        text.push('\n');
    }
    for (experiment, text) in files {
        let path = folder.join(format!("{experiment}.log"));
        let mut options = OpenOptions::new();
        let open = options.create(true).append(true);
        let written = open.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| format!("could not write {}: {error}", path.display()))?;
    }
    Ok(())
}
