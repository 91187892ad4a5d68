//! How far long work is: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use adapter_postgres::projector::rebuild::Watcher;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Failure;

/// Between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Shows on stderr how far work over the log is. Dropping it removes the bar.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Where lines are written instead of a bar: what is under way, and when that was last said.
    plain: Option<Mutex<(String, Instant)>>,
}

impl Progress {
    pub(crate) fn new() -> Result<Self, Failure> {
        let style = ProgressStyle::with_template(
            "{msg:<24} {bar:40} {human_pos} of {human_len} events, {per_sec}, {eta} left",
        )?;
        let on_terminal = io::stderr().is_terminal();
        let bar = if on_terminal { ProgressBar::new(0).with_style(style) } else { ProgressBar::hidden() };
        Ok(Self { bar, plain: (!on_terminal).then(|| Mutex::new((String::new(), Instant::now()))) })
    }

    fn say(line: &str) {
        // Nobody reads it: the work goes on.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

impl Watcher for Progress {
    fn phase(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.reset_eta();
        if let Some(plain) = &self.plain {
            *plain.lock().unwrap_or_else(PoisonError::into_inner) = (what.to_owned(), Instant::now());
            Self::say(what);
        }
    }

    fn at(&self, position: i64, end: i64) {
        self.bar.set_length(u64::try_from(end).unwrap_or(0));
        self.bar.set_position(u64::try_from(position).unwrap_or(0));
        if let Some(plain) = &self.plain {
            let mut said = plain.lock().unwrap_or_else(PoisonError::into_inner);
            if said.1.elapsed() >= PLAIN_EVERY {
                said.1 = Instant::now();
                let line = format!("{}: {position} of {end} events", said.0);
                Self::say(&line);
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
