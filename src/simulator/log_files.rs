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

use super::calls::Notices;

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

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::simulator::Notice;

    fn lines(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(id, line)| ((*id).to_owned(), (*line).to_owned())).collect()
    }

    #[tokio::test]
    async fn each_experiment_has_a_file_and_a_failure_is_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("a/b");
        let (tell, mut told) = mpsc::channel(8);
        let notices = Notices::new(Some(tell));
        let mut logs = Logs::open(below.clone()).expect("a folder");
        logs.append(lines(&[("EXP1", "a"), ("EXP2", "b"), ("EXP1", "c")]), &notices).await;
        logs.append(lines(&[("EXP1", "d")]), &notices).await;
        let read = |name: &str| std::fs::read_to_string(below.join(name)).expect("a log");
        assert_eq!((read("EXP1.log"), read("EXP2.log")), ("a\nc\nd\n".to_owned(), "b\n".to_owned()));
        std::fs::remove_dir_all(&below).expect("removed");
        for _again in 0..3 {
            logs.append(lines(&[("EXP1", "e")]), &notices).await;
        }
        std::fs::create_dir(&below).expect("a folder");
        logs.append(lines(&[("EXP1", "f")]), &notices).await;
        assert_eq!(read("EXP1.log"), "f\n");
        drop(notices);
        let Some(Notice::LogNotWritten(problem)) = told.recv().await else { panic!("nothing told") };
        assert!(problem.contains("EXP1.log"), "{problem}");
        assert!(told.recv().await.is_none(), "told once");
    }
}
