//! What is logged in a test's own thread.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use tracing::subscriber::DefaultGuard;

/// Lines of a log, kept.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Keeps what is logged in this thread until the guard is dropped.
    pub fn kept(&self) -> DefaultGuard {
        let lines = self.clone();
        let kept = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || lines.clone());
        tracing::subscriber::set_default(kept.finish())
    }

    /// What was logged since this was last asked.
    pub fn taken(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().expect("nobody panics with it"))).expect("text")
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
