//! The demo's view: on a terminal, bars for the actions that go on and the decisions above them; elsewhere, plain lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::stage::{REGION, SPEED};
use crate::{
    cli::{context::now, render},
    domain::{
        catalogue,
        fis::{FisAction, FisStatus},
        run::{Run, RunState},
    },
    http::status::Status,
};

/// Bars count in these steps.
const TICKS_PER_SECOND: f64 = 10.0;

/// What has been shown so far.
pub struct View {
    screen: MultiProgress,
    live: bool,
    length: Option<Duration>,
    head: ProgressBar,
    slots: ProgressBar,
    bars: BTreeMap<(String, String), ProgressBar>,
    said: BTreeSet<(String, String)>,
}

impl View {
    /// Makes a view and says what is about to be seen.
    pub fn new(live: bool, url: &str, length: Option<Duration>) -> Self {
        let target = if live { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::hidden() };
        let screen = MultiProgress::with_draw_target(target);
        let plain = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let head = screen.add(ProgressBar::new_spinner().with_style(plain.clone()));
        let slots = screen.add(ProgressBar::new_spinner().with_style(plain));
        let mut view = Self { screen, live, length, head, slots, bars: BTreeMap::new(), said: BTreeSet::new() };
        view.line(&format!("simulator of FIS and what is around it at {url}, {SPEED:.0} times as fast as AWS"));
        view.line("look from another terminal:");
        view.line(&format!(
            "  export AWS_ENDPOINT_URL={url} AWS_DEFAULT_REGION={REGION} AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo"
        ));
        view.line("  aws fis list-experiments");
        view.line("");
        view
    }

    /// Shows what is new.
    pub fn show(&mut self, runs: &[Run], status: &Status, told: Option<&str>, elapsed: Duration) {
        if let Some(told) = told {
            self.say(&format!("-- {told}"));
        }
        for run in runs.iter().rev() {
            self.show_run(run);
        }
        let of = self.length.map_or_else(String::new, |length| format!(" of {}s", length.as_secs()));
        self.head.set_message(format!("-- {}s{of}; Ctrl-C ends", elapsed.as_secs()));
        let next: Vec<String> = status
            .next_slots
            .iter()
            .map(|(name, at)| format!("{name} in {}s", at.duration_since(now()).as_secs().max(0)))
            .collect();
        self.slots.set_message(format!("next slots: {}", next.join(", ")));
    }

    /// Leaves the terminal in order.
    pub fn end(&mut self) {
        for bar in self.bars.values() {
            bar.finish_and_clear();
        }
        self.head.finish_and_clear();
        self.slots.finish_and_clear();
    }

    fn show_run(&mut self, run: &Run) {
        let state = render::state(run);
        if self.said.insert((run.id.to_string(), state.clone()))
            && !matches!(run.state, RunState::Requested | RunState::Starting { .. })
        {
            let detail = match &run.state {
                RunState::Running { .. } => {
                    let id = run.fis.as_ref().map_or("", |fis| fis.id.as_str());
                    format!("{id}, because of {}", run.trigger)
                }
                _ => render::detail(run),
            };
            self.say(&format!("{:<20} {state:<9} {detail}", run.experiment));
        }
        let Some(fis) = &run.fis else { return };
        for (name, action) in &fis.actions {
            self.show_action(run, name, action);
        }
    }

    fn show_action(&mut self, run: &Run, name: &str, action: &FisAction) {
        let key = (run.id.to_string(), name.to_owned());
        let is_running = action.status == FisStatus::Running && !run.is_over();
        if is_running && self.said.insert((key.0.clone(), format!("action {name}"))) && !self.live {
            self.say(&format!("{:<20}   action  {name} ({})", run.experiment, action.action_id));
        }
        if !self.live {
            return;
        }
        if !is_running {
            if let Some(bar) = self.bars.remove(&key) {
                bar.finish_and_clear();
            }
            return;
        }
        let Some(started) = action.started_at else { return };
        let elapsed = now().duration_since(started).as_secs_f64().max(0.0);
        let length = expected_seconds(run, name);
        let bar = self.bars.entry(key).or_insert_with(|| {
            let style = ProgressStyle::with_template("   {prefix:42} [{bar:30}] {msg}");
            let bar = ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.screen.add(bar.with_prefix(format!("{} {name}", run.experiment)))
        });
        bar.set_length(ticks(length.unwrap_or(elapsed)).max(1));
        bar.set_position(ticks(elapsed));
        let of = length.map_or_else(String::new, |length| format!(" of at most {length:.0}s"));
        bar.set_message(format!("{elapsed:.0}s{of}"));
    }

    /// Says a line with the time before it.
    fn say(&mut self, text: &str) {
        let line = format!("{}  {text}", now().strftime("%H:%M:%S"));
        self.line(&line);
    }

    fn line(&mut self, text: &str) {
        // A closed terminal is noticed at the end, when the summary is printed.
        if self.live {
            let _closed = self.screen.println(text);
        } else {
            let _closed = render::line(text);
        }
    }
}

/// The longest time an action may take, by its template.
fn expected_seconds(run: &Run, name: &str) -> Option<f64> {
    let action = run.facts.as_ref()?.actions.get(name)?;
    let parameter = catalogue::action(&action.action_id)?.duration_parameter.as_deref()?;
    let declared: jiff::SignedDuration = action.parameters.get(parameter)?.parse().ok()?;
    Some(declared.as_secs_f64() / SPEED)
}

/// Seconds as steps of a bar.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a demo, never negative")]
fn ticks(seconds: f64) -> u64 {
    (seconds * TICKS_PER_SECOND) as u64
}
