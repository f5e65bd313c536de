//! What a run shows while it runs: bars on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use super::clock::RunClock;
use super::stage::Stage;

const REFRESH: Duration = Duration::from_millis(200);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The bars of a run.
pub struct Show {
    bars: MultiProgress,
    state: ProgressBar,
    sent: ProgressBar,
    stored: ProgressBar,
    replicated: ProgressBar,
    delivered: ProgressBar,
    terminal: bool,
}

impl Show {
    /// For a run of this many messages.
    pub fn new(messages: u64) -> Self {
        let bars = MultiProgress::new();
        let style =
            |template: &str| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let state = bars.add(ProgressBar::new_spinner().with_style(style("{spinner} {elapsed:>4} {msg}")));
        let bar = |name: &'static str| {
            let bar =
                ProgressBar::new(messages).with_style(style("  {prefix:<11}{bar:40} {human_pos:>9} / {human_len}"));
            bars.add(bar.with_prefix(name))
        };
        let (sent, stored, replicated) = (bar("sent"), bar("stored"), bar("replicated"));
        let delivered = ProgressBar::new_spinner().with_style(style("  {prefix:<11}{human_pos} {per_sec}"));
        let delivered = bars.add(delivered.with_prefix("delivered"));
        Self { bars, state, sent, stored, replicated, delivered, terminal: std::io::stderr().is_terminal() }
    }

    /// A step of the run.
    pub fn say(&self, text: &str) {
        self.state.set_message(text.to_owned());
        match self.terminal {
            // Above the bars, so that it stays.
            true => drop(self.bars.println(format!("  {text}"))),
            false => eprintln!("{text}"),
        }
    }

    /// What is waited for.
    pub fn wait(&self, text: &str) {
        self.state.set_message(format!("waiting: {text}"));
        self.state.tick();
    }

    /// So many messages were read back.
    pub fn read(&self, messages: u64) {
        self.delivered.set_prefix("read back");
        if self.delivered.length().is_none() {
            self.delivered.set_position(0);
            self.delivered.set_length(0);
        }
        self.delivered.inc(messages);
    }

    /// Shows the counts until it is aborted.
    pub fn follow(&self, stage: Arc<Stage>, clock: RunClock) -> JoinHandle<()> {
        let (state, sent, stored, replicated, delivered) = (
            self.state.clone(),
            self.sent.clone(),
            self.stored.clone(),
            self.replicated.clone(),
            self.delivered.clone(),
        );
        let terminal = self.terminal;
        tokio::spawn(async move {
            let mut next_line = LINE_EVERY;
            loop {
                tokio::time::sleep(REFRESH).await;
                let of = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
                let tally = &stage.tally;
                sent.set_position(of(&tally.sent));
                stored.set_position(of(&tally.stored));
                replicated.set_position(of(&tally.replicated));
                delivered.set_position(of(&tally.delivered));
                state.tick();
                let now = Duration::from_micros(clock.now_us());
                if !terminal && now >= next_line {
                    next_line = now + LINE_EVERY;
                    eprintln!(
                        "{:>4} s: sent {}, stored {}, replicated {}, delivered {}",
                        now.as_secs(),
                        of(&tally.sent),
                        of(&tally.stored),
                        of(&tally.replicated),
                        of(&tally.delivered)
                    );
                }
            }
        })
    }

    /// Takes the bars away.
    pub fn done(&self) {
        for bar in [&self.state, &self.sent, &self.stored, &self.replicated, &self.delivered] {
            bar.finish_and_clear();
        }
    }
}
